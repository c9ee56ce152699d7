"""One call on its way through the gateway."""

import time
import uuid
from dataclasses import dataclass, field

from gateway.errors import UpstreamFacts
from gateway.quota.limits import Scope
from gateway.quota.places import Places
from gateway.tenants import Principal, Project, Snapshot
from gateway.upstream.declaration import Binding


@dataclass(slots=True)
class Call:
    """What is known of a call; stages fill it in from the outside to the inside."""

    binding: Binding
    time_left_s: float | None
    """Until the caller's deadline; None when it set none."""
    snapshot: Snapshot
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.monotonic)
    principal: Principal | None = None
    project: Project | None = None
    places: Places | None = None
    """What the call occupies under limits of concurrency."""
    trailers: dict[str, str] = field(default_factory=dict)
    """For the caller, beside its answer or error."""
    outcome: str = "OK"
    reason: str = ""
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)

    @property
    def quota_scope(self) -> Scope:
        """Whose limits count."""
        assert self.principal is not None
        assert self.project is not None
        tenant = self.principal.tenant.id
        return Scope(self.project.credential, tenant, self.project.key, f"{tenant}/{self.principal.id}")

    @property
    def scope(self) -> str:
        """Names the tenant and project, for page tokens."""
        assert self.principal is not None
        assert self.project is not None
        return f"{self.principal.tenant.id}/{self.project.id}"

    def note_upstream(self, facts: UpstreamFacts) -> None:
        """Keeps what is known of the calls to CBR, for the call's line in the log."""
        self.upstream = facts
