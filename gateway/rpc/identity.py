"""From the metadata of a call to who calls and for which project.

The transport passes repeated entries on as they are; two `authorization` entries could make a proxy and this gateway see two different
callers, so repeats are refused.
A project that is not the tenant's gets the same answer whether it exists or not, before anything is looked up.
"""

from collections.abc import Iterable
from typing import Final

from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError, Violation
from gateway.tenants import Principal, Project, TenantDirectory
from gateway.upstream.declaration import Binding

AUTHORIZATION: Final = "authorization"
PROJECT: Final = "x-cbr-project-id"
_SCHEME: Final = "bearer"

Metadata = Iterable[tuple[str, str | bytes]]


def single(metadata: Metadata, name: str) -> str | None:
    """The value of an entry that may occur once. Raises METADATA_INVALID."""
    found = [value for key, value in metadata if key == name]
    if len(found) > 1:
        raise _invalid(name, "occurs more than once; send it once")
    if not found:
        return None
    value = found[0]
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise _invalid(name, "must be printable ASCII")
    return value


def _invalid(name: str, description: str) -> GatewayError:
    return GatewayError(
        errors_pb2.ERROR_REASON_METADATA_INVALID,
        f"Metadata entry {name} {description}.",
        violations=(Violation(f"metadata.{name}", description, "metadata"),),
    )


def authenticate(directory: TenantDirectory, metadata: Metadata) -> Principal:
    """Who calls. Raises CREDENTIALS_INVALID or METADATA_INVALID."""
    value = single(metadata, AUTHORIZATION)
    scheme, _, key = (value or "").partition(" ")
    principal = directory.by_api_key(key.strip()) if scheme.lower() == _SCHEME else None
    if principal is None:
        what = "carries no API key" if value is None else "carries no valid API key"
        raise GatewayError(
            errors_pb2.ERROR_REASON_CREDENTIALS_INVALID, f"The call {what}; send the metadata entry 'authorization: Bearer <API key>'."
        )
    return principal


def choose_project(principal: Principal, binding: Binding, metadata: Metadata) -> Project:
    """The project of the call. Raises PROJECT_DENIED, ADMINISTRATOR_ONLY or METADATA_INVALID."""
    if not binding.project_scoped and not principal.tenant.administrator:
        raise GatewayError(errors_pb2.ERROR_REASON_ADMINISTRATOR_ONLY, f"{binding.rpc} is for administrators only.")
    project = principal.tenant.project(single(metadata, PROJECT))
    if project is None:
        raise GatewayError(
            errors_pb2.ERROR_REASON_PROJECT_DENIED,
            f"The project in {PROJECT} is not one of this tenant's; use one that is, or leave the entry out for the default one.",
        )
    return project
