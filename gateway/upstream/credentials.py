"""What a project signs in with."""

from dataclasses import dataclass, field

from gateway.secret import Secret


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
