"""From a change to the operation that is recorded before it is sent: whose it is, what it charges,
and what its outcome may have to be told from.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.changes.change import Change
from gateway.changes.namesakes import ids_before, name_in, topic
from gateway.changes.record import OperationDetail
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.state import Charge, Heartbeat, Operation
from gateway.upstream.marker import can_mark
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.remote_clock import RemoteClock, Span
from gateway.upstream.retry import Deadline

_TTL_MARGIN_S: Final = 30.0
SHARE_TO_PREPARE: Final = 0.5
"""How much of a call's time may be spent on what makes its outcome easier to tell."""


class Planner(msgspec.Struct, frozen=True):
    """One per process.

    `remote_clock`: CBR's time at an endpoint. `markers`: what is created carries its operation's
    mark. `recovers`: unknown outcomes are looked for; `correlates`: and the tasks that changes
    start.
    """

    reader: UpstreamReader
    clock: Clock
    heartbeat: Heartbeat
    remote_clock: Callable[[str], RemoteClock]
    markers: bool
    recovers: bool
    correlates: bool

    async def operation(
        self, change: Change, charges: tuple[Charge, ...], deadline: Deadline
    ) -> Operation:
        marks = self.marks(change)
        sent, namesakes = await self._seen_before(change, deadline, marks=marks)
        anonymous = change.binding.request_type()
        anonymous.CopyFrom(change.request)
        anonymous.ClearField("request_id")
        body = anonymous.SerializeToString(deterministic=True)
        detail = OperationDetail(
            owner=self.heartbeat.owner,
            project=change.scope.project,
            request=body,
            marked=marks,
            accepted=self.clock.time(),
            principal=change.scope.principal,
            slots=change.slots.lasting,
            beats=not self.heartbeat.alone,
            sent=sent,
            namesakes=namesakes,
            trace_id=change.trace_id,
        )
        return Operation(
            id=change.id,
            tenant=change.scope.tenant,
            rpc=change.binding.rpc,
            request_id=change.request.request_id,
            fingerprint=hashlib.sha256(change.scope.project.encode() + b"\0" + body).digest(),
            charges=charges,
            ttl_s=max(deadline.left_s(self.clock.monotonic()), 0) + _TTL_MARGIN_S,
            detail=msgspec.msgpack.encode(detail),
            topic=_topic(change),
        )

    def marks(self, change: Change) -> bool:
        """Whether what is created carries the mark of its operation."""
        most = change.account.flavor.limits.max_vault_tags
        return self.markers and can_mark(change.binding, change.request, most)

    async def _seen_before(
        self, change: Change, deadline: Deadline, *, marks: bool
    ) -> tuple[Span | None, tuple[str, ...] | None]:
        """CBR's time, and what is there before something is created, where its outcome may have to
        be told from that; None for what is not known.
        """
        project, found = change.scope.project, None
        creates = None if marks or not self.recovers else change.binding.traits.creates
        asks = change.binding.asynchronous and (self.recovers or self.correlates)
        with contextlib.suppress(TimeoutError, GatewayError, KeyError):
            async with asyncio.timeout(deadline.left_s(self.clock.monotonic()) * SHARE_TO_PREPARE):
                if creates is not None:
                    name = name_in(creates, change.request)
                    found = await ids_before(creates, self.reader, project, name)
                elif asks:
                    await self.reader.time(project)
        return self.remote_clock(change.account.endpoint).now(), found


def _topic(change: Change) -> str:
    if change.binding.traits.creates is not None:
        return topic(change.account.project_id)
    return change.scope.project if change.binding.asynchronous else ""
