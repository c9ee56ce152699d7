"""Brings the store and CBR together again: after a crash, after an outcome that nobody knows, and
every few minutes.

    sweep     reservations that ran out end; operations of a process that is gone are looked into
    watch     operations whose outcome is unknown are looked for (outcome_search.py)
    recount   counters are set to what CBR lists

An operation that was SENT never ends by time alone. A change is never sent again from here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct

from gateway import failpoint
from gateway.changes.ledger import Ending, Ledger
from gateway.changes.named_tasks import NamedTasks
from gateway.changes.outcome_search import ORPHAN_S, OutcomeSearch
from gateway.changes.record import OperationDetail
from gateway.clock import Clock
from gateway.limits.overrides import LimitOverrides
from gateway.limits.recount import Recounter
from gateway.limits.settings import QuotaSettings
from gateway.state import OPEN, Heartbeat, OperationStore, OperationView, State, StoreDown
from gateway.upstream.change_observer import ChangeResult

REFRESH_S: Final = 1.0
"""Time between two reads of the limits in the store, and of whether it is still the same one."""
_AT_ONCE: Final = 50
"""Operations that are looked at before others have their turn."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Recovery(Struct):
    """One per process. `clocks`: what CBR's say now, as far as they are known."""

    operations: OperationStore
    ledger: Ledger
    recounter: Recounter
    overrides: LimitOverrides
    outcomes: OutcomeSearch
    clock: Clock
    clocks: Callable[[], Sequence[float]]
    settings: QuotaSettings
    heartbeat: Heartbeat
    tasks: NamedTasks

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works in the background until left."""
        loops = (
            self._every(self.settings.sweep_s, self.sweep),
            self._every(REFRESH_S, self._refresh),
            self._recounts(),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        self.heartbeat.subscribe(lambda: self.tasks.start("sweep", self._once(self.sweep)))
        try:
            yield
        finally:
            await self.recounter.aclose()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.tasks.aclose()
            self.heartbeat.leaves = not (self.ledger.under_way or self.ledger.owed)

    async def start(self) -> None:
        """Before the first call: what limits are in force.

        A store that is down is met again by the first call that needs it.
        """
        try:
            await self._refresh()
        except StoreDown as down:
            log.warning("the store does not answer", error=str(down))

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._once(work)
            await self.clock.sleep(seconds)

    async def _once(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreDown as down:
            log.warning("the store does not answer", error=str(down))
        except Exception:
            log.exception("recovery failed and goes on")

    async def _recounts(self) -> None:
        while True:
            try:
                await self.recounter.run()
            except StoreDown as down:
                log.warning("the store does not answer", error=str(down))
                self.recounter.soon()
            except Exception:
                log.exception("a recount failed; the next one follows")
            with contextlib.suppress(TimeoutError):
                # Not wait_for, which in Python 3.11 loses a cancellation that comes with the event.
                async with asyncio.timeout(self.settings.recount_s):
                    await self.recounter.wanted.wait()
            # Many changes that end at once ask for one recount.
            await self.clock.sleep(1)

    async def _refresh(self) -> None:
        # First, since what is on its way must be known again before anybody counts.
        await self.recounter.life.check()
        if await self.ledger.pay():
            self.recounter.soon()
        await self.overrides.refresh()

    async def sweep(self) -> None:
        """Raises StoreDown."""
        await self.operations.sweep(self.clocks())
        failpoint.reach("after_sweep")
        for number, op in enumerate(await self.operations.in_states(None, OPEN)):
            if number % _AT_ONCE == _AT_ONCE - 1:
                # There may be thousands, and calls are to be answered meanwhile.
                await asyncio.sleep(0)
            try:
                await self._taken_over(op)
            except Exception as error:  # noqa: BLE001 - whatever is in it
                known = {"op": op.id, "operation": op.rpc, "error": repr(error)}
                log.error(  # noqa: TRY400 - says it all
                    "an open operation is not understood; ReleaseReservation settles it", **known
                )
                if op.state is State.SENT and self._old(op):
                    # So that it does.
                    await self.operations.unknown(op.id)

    async def _taken_over(self, op: OperationView) -> None:
        """Looks after an open operation if nobody else does."""
        trace = OperationDetail.of(op.detail)
        old = self._old(op)
        # A store that failed over may have forgotten an end that it was told.
        ended = op.id not in self.ledger.under_way and op.id not in self.ledger.owed
        if trace.owner == self.heartbeat.owner:
            gone = old and ended
        else:
            gone = self.heartbeat.gone(trace.owner, beats=trace.beats) or (old and not trace.beats)
        if op.state is State.RESERVED:
            if gone and (self.heartbeat.alone or trace.beats):
                # Its process never came to send it, and will not be allowed to.
                failpoint.reach("reservation_left")
                await self.ledger.end(op, Ending(ChangeResult.NOTHING))
        elif gone or op.state is State.UNKNOWN:
            if op.state is State.SENT:
                # Nobody will tell its end any more, so that an operator may, should CBR not show
                # it.
                failpoint.reach("orphan_found")
                await self.ledger.end(op, Ending(ChangeResult.UNKNOWN))
            self.outcomes.watch(op.id)

    def _old(self, op: OperationView) -> bool:
        """Whether no process still works on it."""
        return self.clock.time() - op.created_at > ORPHAN_S
