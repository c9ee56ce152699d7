"""Whose limits and changes a call looks at: its own tenant's, another's, or those of all."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cbrgateway.v1 import errors_pb2
from msgspec import Struct

from gateway.errors import GatewayError, field_invalid
from gateway.limits.limits import Level, Scope
from gateway.rpc.call import Call
from gateway.rpc.handlers.usages import administers
from gateway.tenants import Tenant

ALL: Final = "-"


class Audience(Struct, frozen=True):
    """`tenant`: one, or None for all."""

    tenant: Tenant | None
    everyone: Iterable[Tenant]

    def scopes(self) -> Iterator[Scope]:
        """Of every principal at every project."""
        for tenant in self.everyone if self.tenant is None else [self.tenant]:
            for project in tenant.projects:
                for principal in tenant.subjects(Level.PRINCIPAL):
                    yield Scope(project.credential, tenant.id, project.key, principal)


def audience(call: Call, request: Any) -> Audience:  # noqa: ANN401 - any request with a tenant
    """Whom a request is about; without a tenant, all that the caller may see.

    Raises ADMINISTRATOR_ONLY, also for tenants that do not exist; FIELD_INVALID for an
    administrator. What others have is recorded.
    """
    assert call.principal is not None
    own, known = call.principal.tenant, call.snapshot.directory.tenants
    if not administers(call):
        if request.tenant not in {"", own.id}:
            raise GatewayError(
                errors_pb2.ERROR_REASON_ADMINISTRATOR_ONLY,
                "tenant: only administrators may look at other tenants; leave it out.",
            )
        return Audience(own, ())
    if request.tenant in {"", ALL}:
        call.looks_at_others = True
        return Audience(None, known.values())
    if request.tenant not in known:
        close = difflib.get_close_matches(request.tenant, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "`-` is all of them"
        raise field_invalid("tenant", f"there is no such tenant; {hint}", "tenant")
    call.looks_at_others = request.tenant != own.id
    return Audience(known[request.tenant], ())
