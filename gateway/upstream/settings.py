"""What the calling side can be told: regions, credentials and the transport.

A secret never stands in the configuration itself, which is shown, diffed and mounted freely: it is named there, as `{env: NAME}` or `{file: PATH}`,
and read when the configuration is loaded. Validation takes the environment from its context: `{"environ": {...}}`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from gateway.upstream.credentials import AccessKey, IamUser, Secret
from gateway.upstream.http import TransportSettings, tls_context

_HOW = "Name where it is kept: {env: NAME} or {file: PATH}"


def _resolved(value: object, info: ValidationInfo) -> Secret:
    """The secret that a reference names. No message carries the value: a literal may well be the secret itself."""
    match value:
        case Secret():
            return value
        case {"env": str(name), **rest} if not rest:
            return _from_environment(name, (info.context or {}).get("environ", {}))
        case {"file": str(path), **rest} if not rest:
            return _from_file(Path(path))
        case str():
            raise ValueError(f"a secret must not stand in the configuration. {_HOW}")
    raise ValueError(f"does not name a secret. {_HOW}")


def _from_environment(name: str, environ: Mapping[str, str]) -> Secret:
    text = environ.get(name)
    if text is None:
        raise ValueError(f"environment variable {name} is not set. Set it, or name another one")
    if not text.strip():
        raise ValueError(f"environment variable {name} is empty. Put the secret into it")
    return Secret(text.strip())


def _from_file(path: Path) -> Secret:
    """Surrounding white space is cut, since editors and `echo` end files with a line feed."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"secret file {path} cannot be read: {error.strerror}. Give the path of a file that this user may read") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"secret file {path} is not UTF-8 text. Put the secret alone into it") from error
    if not text:
        raise ValueError(f"secret file {path} is empty. Put the secret into it")
    return Secret(text)


class _Reference:
    """Teaches pydantic that a Secret is written as a reference."""

    def __get_pydantic_core_schema__(self, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_resolved)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        def reference(key: str, what: str) -> dict[str, Any]:
            text = {"type": "string", "minLength": 1, "description": what}
            return {"type": "object", "properties": {key: text}, "required": [key], "additionalProperties": False}

        return {"oneOf": [reference("env", "Name of an environment variable."), reference("file", "Path of a file that holds the secret alone.")]}


def _endpoint(value: str) -> str:
    """Scheme and host alone, since the declarations hold the whole path; a closing slash is cut."""
    parts = urlsplit(value)
    try:
        plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password) and parts.port != 0
    except ValueError:
        plain = False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise ValueError(
            "is not an endpoint. Write scheme and host, with a port if needed and no path, such as https://cbr.cn-north-4.myhuaweicloud.com"
        )
    return value.rstrip("/")


SecretReference = Annotated[Secret, _Reference()]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


class RegionSettings(BaseModel):
    """Where a region's services are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Endpoint = Field(description="CBR of the region.")
    iam_endpoint: Endpoint | None = Field(
        default=None, description="IAM of the region. Needed where a project of the region uses a password credential."
    )


class AccessKeySettings(BaseModel):
    """An access key pair; requests are signed with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["access_key"] = Field(description="`access_key`: requests are signed with an access key pair.")
    access_key: SecretReference = Field(description="Access key id (AK).")
    secret_key: SecretReference = Field(description="Secret access key (SK).")
    security_token: SecretReference | None = Field(default=None, description="Security token of a temporary key pair.")

    def credential(self) -> AccessKey:
        """What the authenticator works with."""
        return AccessKey(self.access_key.reveal(), self.secret_key, self.security_token)


class PasswordSettings(BaseModel):
    """An IAM user with a password; requests carry a token that is fetched and renewed with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["password"] = Field(description="`password`: requests carry an IAM token that is fetched with a password.")
    user: str = Field(min_length=1, description="Name of the IAM user.")
    password: SecretReference = Field(description="Password of the IAM user.")
    domain: str = Field(min_length=1, description="Account name (IAM domain) of the user.")

    def credential(self) -> IamUser:
        """What the authenticator works with."""
        return IamUser(self.user, self.password, self.domain)


CredentialSettings = Annotated[AccessKeySettings | PasswordSettings, Field(discriminator="kind")]


def _trusting(settings: TransportSettings) -> TransportSettings:
    try:
        tls_context(settings)
    except OSError as error:
        raise ValueError(f"ca_file {settings.ca_file} cannot be used: {error.strerror}. Give a file of certificates in PEM") from error
    return settings


class UpstreamSettings(BaseModel):
    """The cloud as the gateway sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: dict[str, RegionSettings] = Field(min_length=1, description="Regions by id, such as cn-north-4.")
    credentials: dict[str, CredentialSettings] = Field(min_length=1, description="Credentials by a name of your choice.")
    transport: Annotated[TransportSettings, AfterValidator(_trusting)] = Field(
        default_factory=TransportSettings, description="Connections to CBR and IAM."
    )
