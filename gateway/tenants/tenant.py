"""Whom the gateway serves. A tenant is read from configuration as it is; `gateway.tenants.directory` finds it by API key."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _identifier(value: str) -> str:
    """The same allow-list that path variables obey: a project id becomes part of a URL."""
    if not _IDENTIFIER.fullmatch(value) or value in {".", ".."}:
        raise ValueError("is not an identifier. Use 1 to 128 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`")
    return value


def _sha256(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError("is not a SHA-256 hash of 64 digits in lower-case hex. Make a key with `cbr-gateway keys new` and paste the lines it prints")
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]


class Project(BaseModel):
    """A CBR project, the `{project_id}` of every path, with the region that it lives in and the credential that opens it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Project id as the console shows it: 32 hex digits.")
    region: str = Field(description="Region of the project: a key of upstream.regions.")
    credential: str = Field(description="Credential for the project: a key of upstream.credentials.")


class ApiKey(BaseModel):
    """What is kept of an API key: its name and hash. The key itself is known to its holder alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Name of the key in logs, unique within the tenant.")
    sha256: Annotated[str, AfterValidator(_sha256)] = Field(description="SHA-256 of the key in lower-case hex.")


class Tenant(BaseModel):
    """A customer of the gateway, with the only projects its callers can ever reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier = Field(description="Name of the tenant in logs, unique.")
    administrator: bool = Field(default=False, description="May call the RPCs that are not bound to a project (RegionService).")
    default_project: Identifier = Field(description="Project of calls that name none in `x-cbr-project-id`: one of `projects`.")
    projects: tuple[Project, ...] = Field(min_length=1, description="The tenant's CBR projects. A project belongs to one tenant only.")
    api_keys: tuple[ApiKey, ...] = Field(min_length=1, description="Keys that callers identify themselves with, several during a rotation.")

    def project(self, project_id: str | None) -> Project | None:
        """The tenant's project of that id, its default project for None, None for any project that is not the tenant's."""
        wanted = self.default_project if project_id is None else project_id
        return next((project for project in self.projects if project.id == wanted), None)
