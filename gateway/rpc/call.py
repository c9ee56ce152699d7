"""One call on its way through the gateway."""

import time
import uuid
from dataclasses import dataclass, field

from gateway.errors import UpstreamFacts
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
    outcome: str = "OK"
    reason: str = ""
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)

    @property
    def scope(self) -> str:
        """Names the tenant and project, for page tokens."""
        assert self.principal is not None
        assert self.project is not None
        return f"{self.principal.tenant.id}/{self.project.id}"

    def note_upstream(self, facts: UpstreamFacts) -> None:
        """Keeps what is known of the calls to CBR, for the call's line in the log."""
        self.upstream = facts
