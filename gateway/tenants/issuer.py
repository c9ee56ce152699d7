"""Whose tokens are accepted, and by which keys."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.regular_file import read_file
from gateway.secret import named
from gateway.tenants.jwks import KeySetError, read_keys

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures with a public and a private key only.

A shared secret would let the gateway, and who reads its configuration, make tokens.
"""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _keys_url(value: str) -> str:
    """Over plain HTTP anyone on the way could put in a key, so it is for this machine only."""
    parts = urlsplit(value)
    plain = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not plain or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError(
            "is not a URL to fetch keys from. Write https://host/path without user and fragment;"
            " http:// is for this machine only"
        )
    return value if parts.path else f"{value}/"


def _key_file(value: Path) -> Path:
    try:
        read_keys(read_file(value))
    except OSError as error:
        raise ValueError(
            f"cannot be read: {named(value)}: {error.strerror}. Give the path of a file that this"
            " user may read"
        ) from error
    except KeySetError as error:
        raise ValueError(
            f"{value} {error}. Give a JSON Web Key Set with the issuer's public keys"
        ) from error
    return value


class JwksSettings(BaseModel):
    """Where the issuer's public keys are: exactly one of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_keys_url)] | None = Field(
        default=None, description="URL of the issuer's JSON Web Key Set."
    )
    file: Annotated[Path, AfterValidator(_key_file)] | None = Field(
        default=None, description="A file with it, where the issuer cannot be reached."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url is None) == (self.file is None):
            raise ValueError("must have either a url or a file")
        return self


class IssuerSettings(BaseModel):
    """An issuer of tokens (OIDC provider, Kubernetes, SPIRE).

    Every token must have exp, iat, aud, iss and sub.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(
        min_length=1, description="The claim `iss` of its tokens, character for character."
    )
    audience: str = Field(
        min_length=1,
        description="The name by which its tokens mean this gateway; `aud` must be or hold it.",
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "ES256"),
        min_length=1,
        description=(
            "Signature algorithms that are accepted: RS256 to RS512, PS256 to PS512, ES256 to"
            " ES512."
        ),
    )
    jwks: JwksSettings = Field(description="The issuer's public keys.")
    max_life_s: int = Field(
        default=3600,
        ge=60,
        le=86_400,
        description="Longest time between `iat` and `exp` of a token that is accepted.",
    )
