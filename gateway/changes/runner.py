"""Carries changes out, each once: around every one of them its reservation and the record of its
request_id.

begin     reserves what the change asks for and its request_id, together; or answers what was stored
          for the same request
on_send   marks the operation SENT before the first byte goes to CBR; from here on only its outcome
          ends the reservation
on_end    commit, release or unknown; runs in the change's own task, so also when its caller has
          gone
"""

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway.changes.ledger import Ending, Ledger
from gateway.changes.namesakes import name_in, named, topic
from gateway.changes.record import OperationDetail, undecided
from gateway.changes.recovery import Recovery
from gateway.changes.room import Room
from gateway.changes.submissions import Submissions
from gateway.clock import Clock, moment
from gateway.errors import GatewayError, UpstreamFacts, Violation
from gateway.limits import deltas, refusals
from gateway.limits.limits import Applied, Kind, Limits, Scope
from gateway.limits.overrides import LimitOverrides
from gateway.limits.recount import Recounter
from gateway.limits.slots import ConcurrencySlots
from gateway.state import (
    Admitted,
    Begun,
    Charge,
    Counters,
    InProgress,
    Mismatch,
    Operation,
    OperationStore,
    Refused,
    Replay,
    State,
    StoreDown,
)
from gateway.upstream.account import Account
from gateway.upstream.amounts import Metric, ResourceDelta
from gateway.upstream.change_observer import ChangeObserver, ChangeResult
from gateway.upstream.client import Client
from gateway.upstream.declaration import Binding
from gateway.upstream.marker import can_mark, marked
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.remote_clock import Span
from gateway.upstream.retry import MUTATION_CAP_S, Deadline

_TTL_MARGIN_S: Final = 30.0
_FIRST_LOOK_S: Final = 0.02
_LAST_LOOK_S: Final = 0.5
_RESPONSE_CAP: Final = 16 * 1024
_SHARE_TO_PREPARE: Final = 0.5
"""How much of a call's time may be spent on what makes its outcome easier to tell."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Change:
    """A change that a caller asks for. `id` names the call and becomes the operation's."""

    id: str
    binding: Binding
    request: Any
    scope: Scope
    account: Account
    time_left_s: float | None
    slots: ConcurrencySlots
    on_left: Callable[[UpstreamFacts], None]
    observers: Sequence[ChangeObserver] = ()
    """Who else must hear of it, before the store does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The response, and whether it is that of an earlier call with the same request_id."""

    message: Message
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a change asks for, priced by the limits that it meets.

    `life`: of the store's data, before it was known how much there is.
    """

    operation: Operation
    wanted: Sequence[ResourceDelta]
    priced: Sequence[tuple[Charge, Applied]]
    give_back: dict[str, int]
    fence: int | None
    life: int


@dataclass(frozen=True, slots=True)
class ChangeRunner:
    """One per process."""

    operations: OperationStore
    counters: Counters
    overrides: LimitOverrides
    ledger: Ledger
    recounter: Recounter
    recovery: Recovery
    submissions: Submissions
    reader: UpstreamReader
    client: Client
    clock: Clock
    markers: bool
    room: Room

    async def run(self, change: Change) -> Answer:
        """Carries a change out once. Raises GatewayError."""
        deadline = Deadline.begin(self.clock.monotonic(), change.time_left_s, MUTATION_CAP_S)
        try:
            plan = await self._plan(change, self.overrides.limits, deadline)
            begun = await self._begin(change, plan, deadline)
        except StoreDown:
            if change.request.request_id or self._grows(change):
                raise refusals.store_down(
                    "The store of quotas and request_ids does not answer."
                ) from None
            # Deletes, and whatever else cannot grow past a limit, go on without a record; what they
            # free is found by counting.
            try:
                return await self._send(change, change.request, deadline, None)
            finally:
                self.recounter.soon()
        match begun:
            case Admitted(would_refuse):
                self.overrides.note_shadow([shortage.key for shortage in would_refuse])
                return await self._carry_out(change, plan, deadline)
            case Replay(None):
                text = (
                    "The change with this request_id was carried out, but its answer is not kept"
                    " (too long, or no longer shown); read it."
                )
                raise GatewayError(errors_pb2.ERROR_REASON_EXISTS, text)
            case Replay(bytes(stored)):
                return Answer(change.binding.response_type.FromString(stored), replayed=True)
            case Mismatch():
                text = (
                    "request_id: was used for another request; give every change an id of its own."
                )
                violation = Violation("request_id", "was used for another request", "idempotency")
                raise GatewayError(
                    errors_pb2.ERROR_REASON_IDEMPOTENCY_MISMATCH, text, violations=(violation,)
                )
            case Refused(shortages):
                raise refusals.too_much(
                    shortages,
                    {charge.key: applied for charge, applied in plan.priced},
                    self.clock.time(),
                )
            case InProgress(op_id):
                raise await self._still_going(op_id, change)
        raise AssertionError(begun)

    def _grows(self, change: Change) -> bool:
        """Whether a limit is on what the change may let grow."""
        limits, scope = self.overrides.limits, change.scope
        if deltas.read_first(change.binding, limits, scope):
            return change.binding.method != "DELETE"
        return bool(
            deltas.priced(
                deltas.deltas(change.binding, change.request, None),
                limits,
                scope,
                self.clock.time(),
            )
        )

    async def _plan(self, change: Change, limits: Limits, deadline: Deadline) -> _Plan:
        scope = change.scope
        if deltas.expands_itself(change.binding, change.request):
            capped = refusals.enforced(limits.applied(Metric.CAPACITY_GIB, scope), Kind.STOCK)
            if capped:
                raise refusals.grows_alone(capped[0])
        current, fence = await self._current(change, limits)
        wanted = deltas.deltas(change.binding, change.request, current)
        priced = deltas.priced(wanted, limits, scope, self.clock.time())
        life = self.recounter.life
        await self.counted(wanted, priced, scope.project, deadline)
        return _Plan(
            operation=self._operation(
                change,
                deltas.charges_of(wanted, priced, scope),
                deadline,
                *await self._before(change, deadline),
            ),
            wanted=wanted,
            priced=priced,
            give_back=deltas.credits_of(wanted, limits, scope),
            fence=fence,
            life=life,
        )

    async def _current(self, change: Change, limits: Limits) -> tuple[Message | None, int | None]:
        """The object as it is now where the amounts depend on it, and a fence from before it was
        read.
        """
        read = deltas.read_first(change.binding, limits, change.scope)
        fence = await self.counters.fence() if read or deltas.gives_back(change.binding) else None
        return (
            await self.reader.read(
                read.request(change.request), read.response, change.scope.project
            )
            if read
            else None
        ), fence

    async def counted(
        self,
        wanted: Sequence[ResourceDelta],
        priced: Sequence[tuple[Charge, Applied]],
        project: str,
        deadline: Deadline,
    ) -> None:
        """Growth waits until it is known how much there is.

        Raises QUOTA_STORE_DOWN when that cannot be known or is not in time, and StoreDown.
        """
        keys = {
            charge.key
            for charge, applied in priced
            if applied.limit.kind is Kind.STOCK and not charge.shadow
        }
        members = [demand for demand in wanted if demand.metric is Metric.MEMBERS_PER_BACKUP]
        if members and keys:
            await self.recounter.members(keys, members[0].part, project)
        elif keys:
            await self.recounter.ensure(keys, project, deadline.left_s(self.clock.monotonic()))

    async def _before(
        self, change: Change, deadline: Deadline
    ) -> tuple[Span | None, tuple[str, ...] | None]:
        """CBR's time, and the namesakes of what will be created, where its outcome may have to be
        told from them; None for what is not known.
        """
        project, found = change.scope.project, None
        creates = (
            None
            if self._marks(change) or not self.recovery.settings.recovery
            else change.binding.traits.creates
        )
        asks = change.binding.asynchronous and (
            self.recovery.settings.recovery or self.submissions.settings.correlate
        )
        with contextlib.suppress(TimeoutError, GatewayError, KeyError):
            async with asyncio.timeout(deadline.left_s(self.clock.monotonic()) * _SHARE_TO_PREPARE):
                if creates is not None:
                    found = tuple(
                        row.id
                        for row in await named(
                            creates, self.reader, project, name_in(creates, change.request)
                        )
                    )
                elif asks:
                    await self.reader.time(project)
        return self.client.remote_clock(change.account.endpoint).now(), found

    def _operation(
        self,
        change: Change,
        charges: Sequence[Charge],
        deadline: Deadline,
        sent: Span | None,
        namesakes: tuple[str, ...] | None,
    ) -> Operation:
        anonymous = change.binding.request_type()
        anonymous.CopyFrom(change.request)
        anonymous.ClearField("request_id")
        body = anonymous.SerializeToString(deterministic=True)
        return Operation(
            id=change.id,
            tenant=change.scope.tenant,
            rpc=change.binding.rpc,
            request_id=change.request.request_id,
            fingerprint=hashlib.sha256(change.scope.project.encode() + b"\0" + body).digest(),
            charges=tuple(charges),
            ttl_s=max(deadline.left_s(self.clock.monotonic()), 0) + _TTL_MARGIN_S,
            detail=msgspec.msgpack.encode(
                OperationDetail(
                    *(
                        self.recovery.heartbeat.owner,
                        change.scope.project,
                        body,
                        self._marks(change),
                        self.clock.time(),
                        change.scope.principal,
                    ),
                    slots=change.slots.lasting,
                    beats=not self.recovery.heartbeat.alone,
                    sent=sent,
                    namesakes=namesakes,
                )
            ),
            topic=self._topic(change),
        )

    def _topic(self, change: Change) -> str:
        if change.binding.traits.creates is not None:
            return topic(change.account.project_id)
        return change.scope.project if change.binding.asynchronous else ""

    def _marks(self, change: Change) -> bool:
        most = change.account.flavor.limits.max_vault_tags
        return self.markers and can_mark(change.binding, change.request, most)

    async def _begin(self, change: Change, plan: _Plan, deadline: Deadline) -> Begun:
        """As the store's, but waits for the same request that is under way."""
        pause_s, life = _FIRST_LOOK_S, plan.life
        while True:
            while life != self.recounter.life:
                # The store may have lost its data since, and with them how much there is.
                life = self.recounter.life
                await self.counted(plan.wanted, plan.priced, change.scope.project, deadline)
            begun = await self.ledger.begin(plan.operation)
            if (
                not isinstance(begun, InProgress)
                or self.client.released
                or deadline.left_s(self.clock.monotonic()) < pause_s
            ):
                return begun
            known = await self.operations.get(begun.op_id)
            if known is not None and undecided(known):
                return begun
            await self.clock.sleep(pause_s)
            await self.recounter.check_epoch()
            pause_s = min(pause_s * 1.5, _LAST_LOOK_S)

    async def _still_going(self, op_id: str, change: Change) -> GatewayError:
        try:
            op = await self.operations.get(op_id)
        except StoreDown:
            op = None
        if op is not None and (why := undecided(op)):
            text = (
                "The change with this request_id was sent, and nobody can tell whether CBR carried"
                f" it out: {why}. Look at the object; repeat the change with a new request_id only"
                " if it is absent. An administrator settles it with ReleaseReservation."
            )
            error = GatewayError(
                errors_pb2.ERROR_REASON_OUTCOME_UNDECIDED, text, metadata={"operation": op_id}
            )
            return _with_submission(error, change.binding, op_id)
        if op is not None and op.state is State.UNKNOWN:
            text = (
                "The change with this request_id was sent, and whether CBR carried it out is not"
                " known yet; repeat with the same request_id."
            )
            error = GatewayError(
                errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN,
                text,
                metadata={"operation": op_id},
                code=code_pb2.UNAVAILABLE,
            )
            return _with_submission(
                self._with_end(error, op_id, op.created_at), change.binding, op_id
            )
        text = (
            "The change with this request_id is still being carried out; repeat with the same"
            " request_id."
        )
        return GatewayError(
            errors_pb2.ERROR_REASON_REQUEST_IN_PROGRESS, text, retry_after_s=refusals.STORE_RETRY_S
        )

    async def _carry_out(self, change: Change, plan: _Plan, deadline: Deadline) -> Answer:
        op_id = plan.operation.id
        request = (
            marked(change.binding, change.request, op_id) if self._marks(change) else change.request
        )
        heartbeat, begun = self.recovery.heartbeat, self.clock.time()
        term = heartbeat.term
        change.slots.enter()

        async def on_send() -> bool:
            try:
                if await self.ledger.sent(op_id):
                    return True
            except StoreDown:
                raise refusals.store_down(
                    "The store of quotas and request_ids does not answer."
                ) from None
            # This process was held up, or the store lost the reservation.
            raise refusals.store_down("The reservation ended before the change could be sent.")

        async def on_end(
            result: ChangeResult, message: Message | None, facts: UpstreamFacts
        ) -> None:
            try:
                await self._ended(change, plan, result, message, facts)
            finally:
                await change.slots.leave()

        await self.room.make(
            change.request,
            change.scope.project,
            change.account,
            deadline.left_s(self.clock.monotonic()) * _SHARE_TO_PREPARE,
        )
        try:
            return await self._send(
                change,
                request,
                deadline,
                ChangeObserver(on_send, on_end, lambda: heartbeat.holds(term)),
            )
        except GatewayError as error:
            raise _with_submission(
                self._with_end(error, op_id, begun), change.binding, op_id
            ) from None

    def _with_end(self, error: GatewayError, op_id: str, begun: float) -> GatewayError:
        """Tells the caller by when the outcome is told at the latest."""
        at = (
            self.recovery.final_by(op_id, begun)
            if error.reason == errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN
            else None
        )
        if at is not None:
            error.metadata = {**error.metadata, "finalBy": moment(math.ceil(at)).ToJsonString()}
        return error

    async def _send(
        self, change: Change, request: Message, deadline: Deadline, observer: ChangeObserver | None
    ) -> Answer:
        # What a reservation took is no longer there for the call; the reply's own reserve is taken
        # off once, inside.
        left_s = deadline.ends_at - self.clock.monotonic()
        reply = await self.client.change(
            change.binding,
            request,
            change.account,
            left_s,
            on_left=change.on_left,
            observers=change.observers if observer is None else (*change.observers, observer),
            recognised=observer is not None and bool(change.request.request_id),
        )
        return Answer(reply.message, reply.upstream)

    async def _ended(
        self,
        change: Change,
        plan: _Plan,
        result: ChangeResult,
        message: Message | None,
        facts: UpstreamFacts,
    ) -> None:
        op_id = plan.operation.id
        if result is ChangeResult.DONE and message is not None:
            note = (
                self.submissions.carried_out(plan.operation, message, facts.request_id)
                if change.binding.asynchronous
                else b""
            )
            response = message.SerializeToString()
            await self.ledger.end(
                op_id,
                Ending(
                    result,
                    response if len(response) <= _RESPONSE_CAP else None,
                    deltas.created_id(change.binding, message),
                    note,
                ),
            )
        else:
            await self.ledger.end(op_id, Ending(result))
        works = result is ChangeResult.DONE or (
            result is ChangeResult.UNKNOWN and change.slots.lasting
        )
        if (
            change.binding.asynchronous
            and works
            and self.submissions.follow(op_id, change.scope.project, change.slots.lasting)
        ):
            change.slots.hand_over()
        if result is ChangeResult.UNKNOWN:
            self.recovery.watch(op_id)
        if result is not ChangeResult.NOTHING and plan.give_back:
            self.recovery.give_back(
                change.binding, change.scope.project, change.request, plan.give_back, plan.fence
            )
        elif (
            result is ChangeResult.DONE
            and change.binding.traits.resize
            and not change.binding.orders
        ):
            self.recounter.soon()


def _with_submission(error: GatewayError, binding: Binding, op_id: str) -> GatewayError:
    """Tells the caller under which id the outcome can be asked for."""
    if binding.asynchronous and error.reason in {
        errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN,
        errors_pb2.ERROR_REASON_OUTCOME_UNDECIDED,
    }:
        error.metadata = {**error.metadata, "submission": op_id}
    return error
