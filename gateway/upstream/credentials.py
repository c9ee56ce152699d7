"""What a project signs in with. Secrets are wrapped so that no log line, repr or traceback shows them."""

from dataclasses import dataclass, field


class Secret:
    """A string that only `reveal` shows; equal to a Secret of the same text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that must send or hash it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key pair; `security_token` comes with temporary ones."""

    access_key: str = field(repr=False)
    secret_key: Secret
    security_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class IamUser:
    """An IAM user with a password; `domain` is the account name."""

    user: str
    password: Secret
    domain: str
