"""AccessService: who calls, by the gateway's eyes, and what it may do. Nothing is asked of CBR."""

import difflib
import math
from collections.abc import Sequence

from cbrgateway.v1 import access_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.guard_settings import GuardSettings
from gateway.clock import moment
from gateway.errors import field_invalid
from gateway.rpc.call import Call, Handler
from gateway.rpc.handlers.handles import by_rpc, handles
from gateway.rpc.handlers.stored import guarded
from gateway.rpc.handlers.usages import Usages, administers
from gateway.rpc.identity import project_of
from gateway.rpc.permitted import refusal
from gateway.tenants import Project
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding
from gateway.upstream.losses import Guard


class AccessHandlers(Struct, frozen=True):
    """The handlers, by RPC."""

    catalog: Catalog
    usages: Usages

    def by_rpc(self) -> dict[str, Handler]:
        return {rpc: guarded(handler) for rpc, handler in by_rpc(self).items()}

    @handles(access_pb2.GetCallerRequest)
    async def get_caller(self, call: Call, _request: access_pb2.GetCallerRequest) -> Message:
        principal = call.principal
        assert principal is not None
        tenant, grant = principal.tenant, principal.grant
        response = access_pb2.GetCallerResponse(
            principal=principal.id,
            tenant=tenant.id,
            credential_kind=access_pb2.CredentialKind.Value(
                f"CREDENTIAL_KIND_{principal.recognised_by.upper()}"
            ),
            permissions=sorted(grant.permissions),
            projects=[_project(call, project) for project in tenant.projects],
            guards=_guards(tenant.guards),
            usages=await self.usages.of([call.quota_scope], shared=administers(call)),
        )
        if grant.role:
            response.role = access_pb2.CallerRole.Value(f"CALLER_ROLE_{grant.role.upper()}")
        if principal.valid_until < math.inf:
            response.credential_expire_time.CopyFrom(moment(principal.valid_until))
        return response

    @handles(access_pb2.TestPermissionsRequest)
    async def test_permissions(
        self, call: Call, request: access_pb2.TestPermissionsRequest
    ) -> Message:
        assert call.principal is not None
        bindings = self._named(request.rpcs)
        account = call.account
        if request.project:
            project = project_of(call.principal, request.project, "project")
            account = call.snapshot.accounts[project.key]
        verdicts = []
        for binding in bindings:
            verdict = access_pb2.PermissionVerdict(
                rpc=binding.rpc, allowed=True, permission=binding.permission
            )
            if error := refusal(binding, call.principal, account):
                verdict.allowed, verdict.reason, verdict.message = (
                    False,
                    error.reason,
                    error.message,
                )
                verdict.missing.extend(call.principal.grant.missing(binding))
            verdicts.append(verdict)
        return access_pb2.TestPermissionsResponse(verdicts=verdicts)

    def _named(self, rpcs: Sequence[str]) -> list[Binding]:
        """Raises FIELD_INVALID for one that does not exist."""
        known = self.catalog.bindings
        for index, rpc in enumerate(rpcs):
            if rpc not in known:
                close = difflib.get_close_matches(rpc, known, n=1)
                hint = f"did you mean {close[0]}?" if close else "it is written Service/Method"
                raise field_invalid(f"rpcs[{index}]", f"there is no such RPC; {hint}", "rpc")
        return [known[rpc] for rpc in rpcs or known]


def _guards(settings: GuardSettings) -> access_pb2.TenantGuards:
    modes = {
        str(guard): access_pb2.GuardMode.Value(f"GUARD_MODE_{settings.mode(guard).upper()}")
        for guard in Guard
    }
    return access_pb2.TenantGuards(
        **modes, min_age_of_last_backup_s=settings.min_age_of_last_backup_s
    )


def _project(call: Call, project: Project) -> access_pb2.CallerProject:
    assert call.principal is not None
    assert call.project is not None
    return access_pb2.CallerProject(
        project=project.id,
        region=project.region,
        flavor=call.snapshot.accounts[project.key].flavor.key,
        enterprise_project_id=project.enterprise_project_id or "",
        is_default=project.id == call.principal.tenant.default_project,
        selected=project.key == call.project.key,
    )
