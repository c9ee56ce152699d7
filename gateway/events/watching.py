"""EventService: following the events of a tenant."""

from cbrgateway.v1 import errors_pb2, event_service_pb2, task_pb2
from msgspec import Struct

from gateway.errors import GatewayError, field_invalid
from gateway.events.filters import never_met
from gateway.events.log import EventLog
from gateway.events.positions import Positions, owner_of
from gateway.events.stream import EventStream, Wanted
from gateway.limits import refusals
from gateway.rpc.call import Call
from gateway.rpc.dispatch import Stream
from gateway.rpc.handlers.handles import handles
from gateway.state import StoreDown
from gateway.watch.hub import Hub
from gateway.watch.stream_life import StreamLife, StreamTerms, ends_at, heartbeat_s


class EventHandlers(Struct, frozen=True):
    """The handlers. `hub`: of all streams, whose life they share."""

    log: EventLog
    hub: Hub
    positions: Positions

    @handles(event_service_pb2.WatchEventsRequest)
    async def watch_events(
        self, call: Call, request: event_service_pb2.WatchEventsRequest, stream: Stream
    ) -> None:
        if not self.log.on:
            text = "This gateway keeps no events (events.max_kept is 0); ask its operator."
            raise GatewayError(errors_pb2.ERROR_REASON_NOT_SUPPORTED, text)
        wanted = self._wanted(call, request)
        terms = StreamTerms(
            event=event_service_pb2.WatchEventsResponse,
            heartbeat_s=heartbeat_s(request),
            ends_at=ends_at(call.started, call.time_left_s),
            recheck=stream.recheck,
            write=stream.write,
        )
        with self.hub.opened() as queue, self.log.followed(wanted.tenant, queue.wake):
            life = StreamLife(self.hub, queue, terms, request.resume_token)
            try:
                await EventStream(self.log, life, self.positions, wanted).run()
            except StoreDown:
                raise refusals.store_down("The store of events does not answer.") from None

    def _wanted(self, call: Call, request: event_service_pb2.WatchEventsRequest) -> Wanted:
        """Raises FIELD_INVALID and RESUME_TOKEN_MISMATCH."""
        assert call.principal is not None
        tenant = call.principal.tenant
        known = {project.id for project in tenant.projects}
        for index, project in enumerate(request.filter.projects):
            if project not in known:
                path = f"filter.projects[{index}]"
                raise field_invalid(path, "is no project of the caller's tenant", "project")
        wanted = request.filter
        for key, index, text in never_met(
            wanted.types, wanted.outcomes, in_projects=bool(wanted.projects)
        ):
            raise field_invalid(f"filter.{key}[{index}]", text, "combination")
        token, owner = request.resume_token, owner_of(tenant.id, request.filter)
        return Wanted(
            tenant=tenant.id,
            filter=request.filter,
            since=self.positions.read(token, owner) if token else None,
            include_kept=request.include_kept,
            fails_on_gap=request.gap_policy == task_pb2.GAP_POLICY_FAIL,
            hidden=call.hidden,
        )
