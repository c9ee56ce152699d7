"""A tenant's callers in the configuration: how each is recognised, and what it may do."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.tenants.grant import Grant, Role
from gateway.tenants.identifiers import DnsName, Identifier, Permission, Sha256, SpiffeId, Subject

MATCHES = ("api_key", "jwt", "spiffe", "dns_san")


class JwtMatch(BaseModel):
    """Tokens of one subject of one issuer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(description="Who issues the token: a key of `issuers`.")
    subject: Subject = Field(description="The token's claim `sub`, whole.")


class PrincipalSettings(BaseModel):
    """A caller. Exactly one of the four ways to recognise it, and either a role or permissions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Name of the caller in logs, unique within the tenant.")
    api_key: Sha256 | None = Field(
        default=None, description="Recognised by this API key: its SHA-256 in lower-case hex."
    )
    jwt: JwtMatch | None = Field(default=None, description="Recognised by a signed token.")
    spiffe: SpiffeId | None = Field(
        default=None, description="Recognised by the SPIFFE id in its client certificate."
    )
    dns_san: DnsName | None = Field(
        default=None, description="Recognised by a DNS name (SAN) in its client certificate."
    )
    role: Role | None = Field(
        default=None,
        description=(
            "`viewer`: RPCs that change nothing. `operator`: all RPCs in the tenant's projects."
            " `administrator`: all RPCs."
        ),
    )
    permissions: tuple[Permission, ...] = Field(
        default=(),
        description=(
            "Instead of a role: the actions it may carry out, such as `cbr:vaults:get` or"
            " `cbr:vaults:*`."
        ),
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        ways = [name for name in MATCHES if getattr(self, name) is not None]
        if len(ways) != 1:
            raise ValueError(
                "must be recognised in exactly one way. Give one of api_key, jwt, spiffe and"
                f" dns_san, not {' and '.join(ways) or 'none'}"
            )
        if bool(self.role) == bool(self.permissions):
            raise ValueError(
                f"must have either a role or permissions, not {'both' if self.role else 'neither'}"
            )
        return self

    @property
    def grant(self) -> Grant:
        return Grant(self.role, frozenset(self.permissions))
