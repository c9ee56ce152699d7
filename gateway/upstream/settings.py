"""What the calling side can be told: regions, credentials and the transport."""

from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.secret import SecretReference, named
from gateway.upstream.credentials import AccessKey, IamUser
from gateway.upstream.flavors import FLAVORS, Flavor
from gateway.upstream.http import TransportSettings, tls_context


def _endpoint(value: str) -> str:
    """Scheme and host alone, since the declarations hold the whole path; a closing slash is cut."""
    parts = urlsplit(value)
    try:
        plain = (
            not (
                parts.path.strip("/")
                or parts.query
                or parts.fragment
                or parts.username
                or parts.password
            )
            and parts.port != 0
        )
    except ValueError:
        plain = False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise ValueError(
            "is not an endpoint. Write scheme and host, with a port if needed and no path, such as"
            " https://cbr.cn-north-4.myhuaweicloud.com"
        )
    return value.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_endpoint)]


def _flavor(value: str) -> str:
    if value not in FLAVORS:
        raise ValueError(
            f"is not a cloud that the gateway knows. Known are {', '.join(FLAVORS)}; docs/clouds.md"
            " says what another one takes"
        )
    return value


class Region(NamedTuple):
    """A region's cloud, and where its services are; `iam_endpoint` is empty if not known."""

    flavor: Flavor
    endpoint: str
    iam_endpoint: str


class RegionSettings(BaseModel):
    """Where a region's services are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flavor: Annotated[str, AfterValidator(_flavor)] = Field(
        default="huawei", description="The region's cloud, `huawei` or `otc`: docs/clouds.md."
    )
    endpoint: Endpoint | None = Field(
        default=None,
        description=(
            "CBR of the region, where it is not the one that its cloud has for the region's id."
        ),
    )
    iam_endpoint: Endpoint | None = Field(
        default=None,
        description=(
            "IAM of the region. Needed with `endpoint` where a project of the region uses a"
            " password credential."
        ),
    )

    def region(self, name: str) -> Region:
        """The region of that id.

        Passwords go to the cloud's own IAM only where CBR is the cloud's own, too.
        """
        flavor = FLAVORS[self.flavor]
        own_iam = flavor.iam_endpoint.format(region=name) if self.endpoint is None else ""
        return Region(
            flavor,
            self.endpoint or flavor.endpoint.format(region=name),
            self.iam_endpoint or own_iam,
        )


class AccessKeySettings(BaseModel):
    """An access key pair; requests are signed with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["access_key"] = Field(
        description="`access_key`: requests are signed with an access key pair."
    )
    access_key: SecretReference = Field(description="Access key id (AK).")
    secret_key: SecretReference = Field(description="Secret access key (SK).")
    security_token: SecretReference | None = Field(
        default=None, description="Security token of a temporary key pair."
    )

    def credential(self) -> AccessKey:
        """What the authenticator works with."""
        return AccessKey(self.access_key.reveal(), self.secret_key, self.security_token)


class PasswordSettings(BaseModel):
    """An IAM user with a password; requests carry a token that is fetched and renewed with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["password"] = Field(
        description="`password`: requests carry an IAM token that is fetched with a password."
    )
    user: str = Field(min_length=1, description="Name of the IAM user.")
    password: SecretReference = Field(description="Password of the IAM user.")
    domain: str = Field(min_length=1, description="Account name (IAM domain) of the user.")

    def credential(self) -> IamUser:
        """What the authenticator works with."""
        return IamUser(self.user, self.password, self.domain)


CredentialSettings = Annotated[AccessKeySettings | PasswordSettings, Field(discriminator="kind")]


def _trusting(settings: TransportSettings) -> TransportSettings:
    if settings.ca_file is None:
        return settings
    try:
        tls_context(settings.ca_file)
    except OSError as error:
        raise ValueError(
            f"ca_file {named(settings.ca_file)} cannot be used: {error.strerror}. Give a"
            " file of certificates in PEM"
        ) from error
    return settings


class UpstreamSettings(BaseModel):
    """The cloud as the gateway sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: dict[str, RegionSettings] = Field(
        min_length=1, description="Regions by id, such as cn-north-4."
    )
    credentials: dict[str, CredentialSettings] = Field(
        min_length=1, description="Credentials by a name of your choice."
    )
    transport: Annotated[TransportSettings, AfterValidator(_trusting)] = Field(
        default_factory=TransportSettings, description="Connections to CBR and IAM."
    )
