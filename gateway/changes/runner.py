"""Carries changes out, each once: around every one of them its reservation and the record of its
request_id.

price     what the change asks for, and which limits that meets (limits/pricing.py)
plan      the operation that is recorded (planning.py)
begin     reserves what it asks for and its request_id, together; or answers what was stored for the
          same request
check     once it has its turn: its etag, and the tenant's guards (preconditions.py)
send      the operation is SENT before the first byte goes to CBR, and from here on only its outcome
          ends the reservation: commit, release or unknown (settling.py)
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.message import Message
from msgspec import Struct
from msgspec.structs import replace

from gateway.changes import repeats
from gateway.changes.change import Answer, Change
from gateway.changes.ledger import Ledger
from gateway.changes.planning import SHARE_TO_PREPARE, Planner
from gateway.changes.preconditions import Preconditions
from gateway.changes.record import undecided
from gateway.changes.repeats import Repeats
from gateway.changes.room import Room
from gateway.changes.settling import Settling
from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamFacts
from gateway.limits import refusals
from gateway.limits.pricing import Priced, Pricer
from gateway.limits.recount import Recounter
from gateway.state import (
    Admitted,
    Begun,
    InProgress,
    Mismatch,
    Operation,
    OperationStore,
    Refused,
    Replay,
    StoreDown,
)
from gateway.upstream.change_observer import ChangeObserver, ChangeResult
from gateway.upstream.client import Client
from gateway.upstream.marker import marked
from gateway.upstream.retry import MUTATION_CAP_S, Deadline

_FIRST_PROBE_S: Final = 0.02
_LAST_PROBE_S: Final = 0.5


class ChangeRunner(Struct, frozen=True):
    """One per process."""

    pricer: Pricer
    planner: Planner
    ledger: Ledger
    settling: Settling
    repeats: Repeats
    operations: OperationStore
    recounter: Recounter
    client: Client
    clock: Clock
    room: Room
    preconditions: Preconditions

    async def run(self, change: Change) -> Answer:
        """Carries a change out once. Raises GatewayError."""
        deadline = Deadline.begin(self.clock.monotonic(), change.time_left_s, MUTATION_CAP_S)
        try:
            priced = await self.pricer.price(change.binding, change.request, change.scope, deadline)
            operation = await self.planner.operation(change, priced.charges, deadline)
            begun = await self._begin(change, operation, priced, deadline)
        except GatewayError as error:
            error.upstream = error.upstream.unsent()
            raise
        except StoreDown:
            if change.request.request_id or self.pricer.grows(
                change.binding, change.request, change.scope
            ):
                raise refusals.store_down(
                    "The store of quotas and request_ids does not answer."
                ) from None
            return await self._unrecorded(change, deadline)
        if isinstance(begun, Admitted):
            self.pricer.overrides.note_shadow([shortage.key for shortage in begun.would_refuse])
            return await self._carry_out(change, operation, priced, deadline)
        return await self._as_before(change, priced, begun)

    async def _begin(
        self, change: Change, operation: Operation, priced: Priced, deadline: Deadline
    ) -> Begun:
        """As the store's, but waits for the same request that is under way."""
        pause_s, life = _FIRST_PROBE_S, priced.life
        while True:
            while life != self.recounter.life.number:
                # The store may have lost its data since, and with them how much there is.
                life = self.recounter.life.number
                await self.pricer.counted(
                    priced.wanted, priced.by_limit, change.scope.project, deadline
                )
            begun = await self.ledger.begin(operation)
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
            await self.recounter.life.check()
            pause_s = min(pause_s * 1.5, _LAST_PROBE_S)

    async def _as_before(self, change: Change, priced: Priced, begun: Begun) -> Answer:
        """What was stored for the same request, or why the change may not begin."""
        match begun:
            case Replay(bytes(stored)):
                return Answer(change.binding.response_type.FromString(stored), replayed=True)
            case Replay(None):
                raise repeats.not_kept()
            case Mismatch():
                raise repeats.mismatch()
            case InProgress(op_id):
                raise await self.repeats.still_going(op_id, change.binding)
            case Refused(shortages):
                applied = {charge.key: applied for charge, applied in priced.by_limit}
                raise refusals.too_much(shortages, applied, self.clock.time())
        raise AssertionError(begun)

    async def _carry_out(
        self, change: Change, operation: Operation, priced: Priced, deadline: Deadline
    ) -> Answer:
        """A change that is reserved."""
        marks = self.planner.marks(change)
        request = marked(change.binding, change.request, operation.id) if marks else change.request
        begun = self.clock.time()
        observer = self.settling.observer(change, operation, priced)
        left_s = deadline.left_s(self.clock.monotonic()) * SHARE_TO_PREPARE
        try:
            await self.room.make(change.request, change.scope.project, change.account, left_s)
        except BaseException:
            # The caller has gone, before there was anything of which another could tell the end.
            await observer.on_end(ChangeResult.NOTHING, None, UpstreamFacts())
            raise
        try:
            return await self._send(change, request, deadline, observer)
        except GatewayError as error:
            raise self.repeats.told(error, change.binding, operation.id, begun) from None

    async def _unrecorded(self, change: Change, deadline: Deadline) -> Answer:
        """Deletes, and whatever else cannot grow past a limit, go on while the store is down; what
        they free is found by counting, for which the store is told later what was deleted.
        """
        try:
            answer = await self._send(change, change.request, deadline, None)
            if change.binding.traits.gone is not None:
                operation = await self.planner.operation(change, (), deadline)
                # Its caller was told of no submission, so nobody follows its tasks.
                unfollowed = replace(operation, id=str(uuid.uuid4()), topic="")
                self.ledger.carried_out(unfollowed)
            return answer
        finally:
            self.recounter.soon()

    async def _send(
        self, change: Change, request: Message, deadline: Deadline, observer: ChangeObserver | None
    ) -> Answer:
        if change.instead is not None:
            return await _done_without_cbr(change.instead, observer)
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
            check=self.preconditions.of(change),
        )
        return Answer(reply.message, reply.upstream)


async def _done_without_cbr(
    do: Callable[[], Awaitable[Answer]], observer: ChangeObserver | None
) -> Answer:
    """A change of which nothing is left for CBR: recorded as any other, but never as sent."""
    result, message = ChangeResult.NOTHING, None
    try:
        answer = await do()
        result, message = ChangeResult.DONE, answer.message
    except GatewayError as error:
        error.upstream = error.upstream.unsent()
        raise
    finally:
        if observer is not None:
            await observer.on_end(result, message, UpstreamFacts())
    return answer
