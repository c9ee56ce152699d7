"""An operation's record in the store, from `begin` to its end; what a store that is down could not
be told is told it later.
"""

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from gateway import failpoint
from gateway.clock import Clock, SystemClock
from gateway.state import (
    Admitted,
    Begun,
    Counters,
    Operation,
    OperationStore,
    OperationView,
    State,
    StoreDown,
)
from gateway.upstream.change_observer import ChangeResult

_MAX_OWED: Final = 10_000
_MAX_DOUBTS: Final = 5_000
"""What began unheard runs out by itself, so it leaves room for the ends of what was sent."""
_AROUND: Final[Mapping[ChangeResult, tuple[failpoint.Name, failpoint.Name]]] = {
    ChangeResult.DONE: ("before_commit", "after_commit"),
    ChangeResult.NOTHING: ("before_release", "after_release"),
    ChangeResult.UNKNOWN: ("before_unknown", "after_unknown"),
}
_FITTING: Final[Mapping[ChangeResult, frozenset[State]]] = {
    ChangeResult.DONE: frozenset({State.COMMITTED}),
    ChangeResult.NOTHING: frozenset({State.RELEASED, State.EXPIRED, State.ABSENT}),
    ChangeResult.UNKNOWN: frozenset({State.UNKNOWN, State.COMMITTED, State.RELEASED}),
}
"""Where an operation may stand once its end was told."""

AnyOperation: TypeAlias = Operation | OperationView
"""As this process began it, or as the store shows it."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Ending(Struct, frozen=True):
    """How an operation ended, and what its `commit` stores."""

    result: ChangeResult
    response: bytes | None = None
    resource_id: str = ""
    note: bytes = b""


class UnderWay(Struct):
    """`state`: RESERVED, SENT or UNKNOWN, as far as this process knows."""

    op: Operation
    state: State = State.RESERVED


class CarriedOut(Struct, frozen=True):
    """An operation that CBR carried out, and until when a list may not show it."""

    op: Operation
    ending: Ending
    until: float


class Ledger(Struct):
    """One per process. `settle_s`: how late CBR may list what it has carried out."""

    operations: OperationStore
    counters: Counters
    on_end: Callable[[AnyOperation, Ending], None] = lambda _op, _ending: None
    clock: Clock = field(default_factory=SystemClock)
    settle_s: float = 0.0
    """Hears of every end, also of one that is learnt late."""
    owed: dict[str, Ending] = field(default_factory=dict)
    """Ends that the store does not know yet, by operation."""
    under_way: dict[str, UnderWay] = field(default_factory=dict)
    """Operations that this process began and of which it does not know the end."""
    _lately: dict[str, CarriedOut] = field(default_factory=dict)
    _missed: dict[str, Operation] = field(default_factory=dict)

    async def begin(self, op: Operation) -> Begun:
        """Raises StoreDown.

        What was begun without our hearing of it is released later, so that a repeat need not wait
        until it runs out.
        """
        failpoint.reach("before_begin")
        try:
            begun = await self.operations.begin(op)
        except (StoreDown, asyncio.CancelledError):
            if len(self.owed) < _MAX_DOUBTS:
                self.owed[op.id] = Ending(ChangeResult.NOTHING)
            raise
        if isinstance(begun, Admitted):
            self.under_way[op.id] = UnderWay(op)
            failpoint.reach("after_begin")
        return begun

    async def sent(self, op_id: str) -> bool:
        """False: it must not be sent. Raises StoreDown."""
        failpoint.reach("before_sent")
        allowed = await self.operations.sent(op_id)
        failpoint.reach("after_sent")
        if allowed and (mine := self.under_way.get(op_id)):
            mine.state = State.SENT
        return allowed

    async def end(self, op: AnyOperation, ending: Ending) -> None:
        """Never fails: what the store cannot take now is kept for `pay`."""
        op_id = op.id
        if ending.result is not ChangeResult.UNKNOWN:
            mine = self.under_way.pop(op_id, None)
            if mine and ending.result is ChangeResult.DONE:
                self._keep(
                    op_id, CarriedOut(mine.op, ending, self.clock.monotonic() + self.settle_s)
                )
        elif mine := self.under_way.get(op_id):
            mine.state = State.UNKNOWN
        before, after = _AROUND[ending.result]
        failpoint.reach(before)
        self.on_end(op, ending)
        try:
            await self._tell(op_id, ending)
        except StoreDown:
            if len(self.owed) < _MAX_OWED:
                self.owed[op_id] = ending
            log.warning(
                "the store is down; the end of an operation is kept for later",
                op=op_id,
                outcome=ending.result.value,
            )
            failpoint.reach("end_owed")
            return
        failpoint.reach(after)

    def carried_out(self, op: Operation) -> None:
        """A change of which the store was not told, since it was down: it is told by `pay`."""
        if len(self._missed) < _MAX_OWED:
            self._missed[op.id] = op

    async def pay(self) -> bool:
        """Tells the store what it missed. Whether that were whole changes. Raises StoreDown."""
        for op_id, ending in list(self.owed.items()):
            failpoint.reach("before_pay")
            if await self._taken(op_id, self._tell(op_id, ending)):
                failpoint.reach("after_pay")
                self.owed.pop(op_id, None)
        told = False
        for op_id, op in list(self._missed.items()):
            done = CarriedOut(op, Ending(ChangeResult.DONE), math.inf)
            if await self._taken(op_id, self._done_again(op_id, done)):
                self._missed.pop(op_id, None)
                told = True
        return told

    async def restore(self) -> None:
        """When the store may have lost its data: records anew what CBR may not show yet, whatever
        the limits say. Raises StoreDown.
        """
        for op_id, mine in list(self.under_way.items()):
            await self._taken(op_id, self._restored(op_id, mine))
        for op_id, done in list(self._lately.items()):
            if done.until > self.clock.monotonic():
                await self._taken(op_id, self._done_again(op_id, done))

    def _keep(self, op_id: str, done: CarriedOut) -> None:
        """What a store that loses its last data is told again; the oldest come first."""
        self._lately[op_id] = done
        now = self.clock.monotonic()
        for known, other in list(itertools.islice(self._lately.items(), 2)):
            if other.until <= now:
                del self._lately[known]

    async def _done_again(self, op_id: str, done: CarriedOut) -> None:
        await self._begun_again(done.op)
        await self._tell(op_id, done.ending)

    async def _begun_again(self, mine: Operation) -> None:
        op = replace(mine, charges=tuple(replace(charge, limit=None) for charge in mine.charges))
        if not isinstance(await self.operations.begin(op), Admitted):
            # Somebody has used the request_id meanwhile; what the operation takes counts all the
            # same.
            await self.operations.begin(replace(op, request_id=""))

    async def _restored(self, op_id: str, mine: UnderWay) -> None:
        await self._begun_again(mine.op)
        if mine.state is State.SENT:
            await self.operations.sent(op_id)
        elif mine.state is State.UNKNOWN:
            await self.operations.unknown(op_id)
        if op_id not in self.under_way:
            # It ended meanwhile, perhaps before there was a record to end.
            await self.operations.release(op_id)

    async def _taken(self, op_id: str, told: Awaitable[None]) -> bool:
        """Whether the store took what it was told of one operation.

        One that it cannot take never stops the others. Raises StoreDown.
        """
        try:
            await told
        except StoreDown as down:
            # A write that concerns no operation tells the one from the other.
            await self.counters.fence()
            log.error(  # noqa: TRY400 - says it all
                "the store does not take the record of an operation; the others go on",
                op=op_id,
                error=str(down),
            )
            return False
        return True

    async def _tell(self, op_id: str, ending: Ending) -> None:
        match ending.result:
            case ChangeResult.DONE:
                stands = await self.operations.commit(
                    op_id, ending.response, ending.resource_id, ending.note
                )
            case ChangeResult.NOTHING:
                stands = await self.operations.release(op_id)
            case ChangeResult.UNKNOWN:
                stands = await self.operations.unknown(op_id)
        if stands not in _FITTING[ending.result]:
            # The store was emptied meanwhile, or somebody settled the operation otherwise: the next
            # recount tells what is so.
            log.warning(
                "the end of an operation does not fit its record",
                op=op_id,
                outcome=ending.result.value,
                record=stands.value,
            )
