"""Whom the gateway serves.

A tenant is read from configuration as it is; `gateway.tenants.directory` finds it by what a caller
shows.
"""

from functools import cached_property
from typing import Self

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.changes.guard_settings import GuardSettings
from gateway.limits.limits import Level, Limit
from gateway.limits.settings import TenantLimit
from gateway.tenants.identifiers import EnterpriseProject, Identifier, Sha256
from gateway.tenants.principal import PrincipalSettings


class Project(BaseModel):
    """A CBR project, the `{project_id}` of every path, with the region that it lives in and the
    credential that opens it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Project id as the console shows it: 32 hex digits.")
    region: str = Field(description="Region of the project: a key of upstream.regions.")
    credential: str = Field(
        description="Credential for the project: a key of upstream.credentials."
    )
    enterprise_project_id: EnterpriseProject | None = Field(
        default=None,
        description=(
            "The part of the project that is the tenant's. Needed where tenants share a project:"
            " docs/tenants.md."
        ),
    )

    @cached_property
    def key(self) -> str:
        """Names what the tenant has of the project: the project, or `project/enterprise project`.

        No two tenants have the same.
        """
        return f"{self.id}/{self.enterprise_project_id}" if self.enterprise_project_id else self.id


class ApiKey(BaseModel):
    """What is kept of an API key: its name and hash.

    The key itself is known to its holder alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Name of the key in logs, unique within the tenant.")
    sha256: Sha256 = Field(description="SHA-256 of the key in lower-case hex.")


class Tenant(BaseModel):
    """A customer of the gateway, with the only projects its callers can ever reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Name of the tenant in logs, unique.")
    administrator: bool = Field(
        default=False,
        description=(
            "Whether the holders of `api_keys` may also call the RPCs whose objects belong to no"
            " tenant (RegionService, OrganizationPolicyService)."
        ),
    )
    default_project: Identifier = Field(
        description="Project of calls that name none in `x-cbr-project-id`: one of `projects`."
    )
    projects: tuple[Project, ...] = Field(
        min_length=1,
        description=(
            "The tenant's CBR projects. Tenants that have the same one need an"
            " `enterprise_project_id` each."
        ),
    )
    api_keys: tuple[ApiKey, ...] = Field(
        default=(),
        description="Keys that open all of the tenant's projects, several during a rotation.",
    )
    principals: tuple[PrincipalSettings, ...] = Field(
        default=(), description="Callers with a role or permissions of their own."
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=100,
        description=(
            "How many turns the tenant has for one of others while calls wait, since there are more"
            " than the gateway can carry out."
        ),
    )
    limits: tuple[TenantLimit, ...] = Field(
        default=(),
        description=(
            "Limits of the tenant's use, in the place of those of `limits` for the same metric and"
            " level."
        ),
    )

    guards: GuardSettings = Field(
        default_factory=GuardSettings,
        description="What keeps the tenant's callers from destroying what they may still need.",
    )

    @model_validator(mode="after")
    def _has_callers(self) -> Self:
        if not (self.api_keys or self.principals):
            raise ValueError("has nobody who could call. Give it api_keys or principals")
        return self

    def subjects(self, level: Level) -> list[str]:
        """What a limit of the level can be for, within the tenant."""
        match level:
            case Level.TENANT:
                return [self.id]
            case Level.PROJECT:
                return [project.key for project in self.projects]
            case Level.PRINCIPAL:
                return [
                    f"{self.id}/{name}"
                    for name in (
                        *(key.id for key in self.api_keys),
                        *(each.id for each in self.principals),
                    )
                ]
        return []

    def own_limits(self) -> list[Limit]:
        """Its limits, each for the tenant, for one of its projects or for one of its callers; of
        two for one subject the last counts.
        """
        return [
            replace(entry.limit(), subject=subject)
            for entry in sorted(self.limits, key=lambda entry: entry.subject != "")
            for subject in self.subjects(entry.level)
            if entry.subject in {"", subject}
        ]

    def project(self, project_id: str | None) -> Project | None:
        """The tenant's project of that id, its default project for None, None for any project that
        is not the tenant's.
        """
        wanted = self.default_project if project_id is None else project_id
        return next((project for project in self.projects if project.id == wanted), None)
