"""Brings the store and CBR together again: after a crash, after an outcome that nobody knows, and
every few minutes.

    sweep     reservations that ran out end; operations of a process that is gone are looked into
    watch     one operation whose outcome is unknown is looked for at 0, 1, 2, 5, ... seconds until
              it is settled
    give back what a delete frees is given back once the object is gone
    recount   counters are set to what CBR lists

An operation that was SENT never ends by time alone. A change is never sent again from here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from google.protobuf.message import Message

from gateway import failpoint
from gateway.changes import evidence
from gateway.changes.bounds import Wait
from gateway.changes.case import Case
from gateway.changes.evidence import Evidence, Sign
from gateway.changes.ledger import Ending, Ledger
from gateway.changes.record import Note, OperationDetail, undecided
from gateway.changes.submissions import Submissions
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.limits.overrides import LimitOverrides
from gateway.limits.recount import Recounter
from gateway.limits.settings import QuotaSettings
from gateway.state import OPEN, Counters, Heartbeat, OperationStore, OperationView, State, StoreDown
from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.change_tasks import OPERATION_CAP_S
from gateway.upstream.declaration import Binding
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.retry import READ_CAP_S
from gateway.upstream.traits import AnyObjectRead

POLLS_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
REFRESH_S: Final = 1.0
"""Time between two looks at whether the store is still the one that was known, and at the limits in
it.
"""
_LOOKS_AT_ONCE: Final = 32
"""Those of one project share its lists, so that CBR is asked for few of them however many looks
there are.
"""
_ORPHAN_S: Final = OPERATION_CAP_S + 30.0
"""After this a SENT operation has no process that still works on it, whatever else is known of
that.
"""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class Recovery:
    """One per process."""

    operations: OperationStore
    counters: Counters
    ledger: Ledger
    recounter: Recounter
    overrides: LimitOverrides
    submissions: Submissions
    reader: UpstreamReader
    clock: Clock
    settings: QuotaSettings
    heartbeat: Heartbeat
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _waits: dict[str, Wait] = field(default_factory=dict)
    """How long each outcome that is looked for is waited for."""
    _looks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOOKS_AT_ONCE))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works in the background until left."""
        loops = (
            self._every(self.settings.sweep_s, self.sweep),
            self._every(REFRESH_S, self._refresh),
            self._recounts(),
        )
        tasks = [asyncio.create_task(loop) for loop in loops]
        self.heartbeat.subscribe(lambda: self._start("sweep", self._once(self.sweep)))
        try:
            yield
        finally:
            await self.recounter.aclose()
            tasks += self._tasks.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def start(self) -> None:
        """Before the first call: what limits are in force.

        A store that is down is met again by the first call that needs it.
        """
        try:
            await self._refresh()
        except StoreDown as down:
            log.warning("the store does not answer", error=str(down))

    async def _every(self, seconds: float, work: Any) -> None:  # noqa: ANN401 - one of our coroutine functions
        while True:
            await self._once(work)
            await self.clock.sleep(seconds)

    async def _once(self, work: Any) -> None:  # noqa: ANN401 - as above
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
        await self.recounter.check_epoch()
        await self.ledger.pay()
        await self.overrides.refresh()

    async def sweep(self) -> None:
        """Raises StoreDown."""
        await self.operations.sweep()
        failpoint.reach("after_sweep")
        for op in await self.operations.in_states(None, OPEN):
            try:
                await self._taken_over(op)
            except Exception as error:  # noqa: BLE001 - whatever is in it
                known = {"op": op.id, "operation": op.rpc, "error": repr(error)}
                log.error(  # noqa: TRY400 - says it all
                    "an open operation is not understood; ReleaseReservation settles it", **known
                )

    async def _taken_over(self, op: OperationView) -> None:
        """Looks after an open operation if nobody else does."""
        trace = OperationDetail.of(op.detail)
        old = self.clock.time() - op.created_at > _ORPHAN_S
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
                await self.ledger.end(op.id, Ending(ChangeResult.NOTHING))
        elif gone or op.state is State.UNKNOWN:
            if op.state is State.SENT:
                # Nobody will tell its end any more, so that an operator may, should CBR not show
                # it.
                failpoint.reach("orphan_found")
                await self.ledger.end(op.id, Ending(ChangeResult.UNKNOWN))
            self.watch(op.id)

    def watch(self, op_id: str) -> None:
        """Looks for what became of an operation until that is known."""
        if not self.settings.recovery:
            log.warning(
                "an outcome is not known, and recovery is off: QuotaService/ReleaseReservation"
                " settles it",
                op=op_id,
            )
            return
        if op_id not in self._tasks:
            wait = self._waits[op_id] = Wait(
                self.settings.settle_s, self.settings.through_s, self.clock.monotonic()
            )
            self._start(op_id, self._settle(op_id, wait))

    def final_by(self, op_id: str, begun: float) -> float | None:
        """By when the outcome of a change is told at the latest, in seconds since 1970; None:
        recovery is off, and only an operator tells it.

        `begun`: when the change was. Another process may look for it, or have died, so that one
        takes over first.
        """
        if not self.settings.recovery:
            return None
        now, wait = self.clock.time(), self._waits.get(op_id)
        left_s = (
            wait.bound_s(self.clock.monotonic())
            if wait
            else max(0.0, begun + _ORPHAN_S - now) + self.settings.settle_s
        )
        return now + max(0.0, left_s) + READ_CAP_S

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name in self._tasks:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks[name] = task
        task.add_done_callback(lambda _task: self._tasks.pop(name, None))

    # Outcomes
    # ----------------------------------------------------------------------------------------------

    async def _settle(self, op_id: str, wait: Wait) -> None:
        try:
            await self._looked_for(op_id, wait)
        finally:
            self._waits.pop(op_id, None)

    async def _looked_for(self, op_id: str, wait: Wait) -> None:
        polls = iter(POLLS_S)
        while True:
            await self.clock.sleep(wait.pause_s(self.clock.monotonic(), next(polls, POLLS_S[-1])))
            try:
                async with self._looks:
                    if await self._settled(op_id, wait):
                        return
            except (GatewayError, StoreDown, KeyError) as error:
                log.warning("an outcome cannot be looked up now", op=op_id, error=str(error))
            except Exception:
                log.exception("an outcome cannot be looked up; the others are", op=op_id)

    async def _settled(self, op_id: str, wait: Wait) -> bool:
        """One look; True when the operation is settled.

        Raises GatewayError, StoreDown or KeyError (project no longer served).
        """
        # A store that lost its data is told of the operation again, before its absence is taken for
        # its end.
        await self.recounter.check_epoch()
        op = await self.operations.get(op_id)
        if op is None or op.state not in {State.SENT, State.UNKNOWN}:
            self.ledger.under_way.pop(op_id, None)
            return True
        failpoint.reach("before_look")
        asked = self.clock.monotonic()
        try:
            found = await self._look(op)
        except (GatewayError, KeyError) as error:
            if wait.over(asked):
                why = (
                    error.message
                    if isinstance(error, GatewayError)
                    else "the gateway does not serve its project any more."
                )
                await self._leave_to_people(
                    op, f"CBR cannot be asked: {why.rstrip('.')}", over=False
                )
            raise
        failpoint.reach("after_look")
        match found.sign:
            case Sign.FOUND:
                await self._carried_out(op, found)
            case Sign.ABSENT if wait.proves(asked, found.listed):
                await self.ledger.end(op.id, Ending(ChangeResult.NOTHING))
            case Sign.ABSENT:
                return False
            case Sign.SEVERAL | Sign.NO_WAY:
                if wait.over(asked):
                    await self._leave_to_people(op, found.why, over=found.sign is Sign.NO_WAY)
                return False
        failpoint.reach("after_settled")
        log.info("an outcome is known now", op=op.id, operation=op.rpc, outcome=found.sign.name)
        self.recounter.soon()
        return True

    async def _leave_to_people(self, op: OperationView, why: str, *, over: bool) -> None:
        """Whoever asks for the outcome is told that nobody can tell; CBR is still asked now and
        then. Raises StoreDown.
        """
        if undecided(op) != why and await self.operations.note(
            op.id, Note.undecided(why, over=over).packed(), op.note
        ):
            log.error(
                "an outcome needs an operator: QuotaService/ReleaseReservation",
                op=op.id,
                operation=op.rpc,
                why=why,
            )

    async def decided(self, op: OperationView, *, carried_out: bool) -> None:
        """Settles an operation as an operator says."""
        await (
            self._carried_out(op, Evidence(Sign.FOUND))
            if carried_out
            else self.ledger.end(op.id, Ending(ChangeResult.NOTHING))
        )
        self.recounter.soon()

    async def _carried_out(self, op: OperationView, found: Evidence) -> None:
        asynchronous = self.reader.catalog[op.rpc].asynchronous
        # A note of its own also where the answer is not known, in the place of one that says why
        # nobody could tell.
        answer = (
            found.response
            if found.response is not None
            else self.reader.catalog[op.rpc].response_type()
        )
        note = self.submissions.carried_out(op, answer) if asynchronous else b""
        response = found.response.SerializeToString() if found.response is not None else None
        await self.ledger.end(op.id, Ending(ChangeResult.DONE, response, found.resource_id, note))
        if asynchronous:
            trace = OperationDetail.of(op.detail)
            self.submissions.follow(op.id, trace.project, trace.slots)

    async def _look(self, op: OperationView) -> Evidence:
        trace = OperationDetail.of(op.detail)
        request = self.reader.catalog[op.rpc].request_type.FromString(trace.request)
        return await evidence.look(Case(op, trace, request, self.reader, self.submissions.claims))

    # What deletes free
    # ----------------------------------------------------------------------------------------------

    def give_back(
        self,
        binding: Binding,
        project: str,
        request: Message,
        amounts: Mapping[str, int],
        fence: int | None,
    ) -> None:
        """Frees `amounts` (counter -> negative) once the object of a delete is gone; should that be
        missed, the next recount tells.
        """
        gone = binding.traits.gone
        assert gone is not None, binding.rpc
        name = gone.id_of(request)
        self._start(
            f"gone-{name}",
            self._give_back(name, lambda: self._gone(gone, request, project), amounts, fence),
        )

    async def _gone(self, shown_by: AnyObjectRead, request: Message, project: str) -> bool:
        asked = shown_by.request(request)
        return await self.reader.read(asked, shown_by.response, project) is None

    async def _give_back(
        self,
        name: str,
        gone: Callable[[], Awaitable[bool]],
        amounts: Mapping[str, int],
        fence: int | None,
    ) -> None:
        for delay_s in (0.0, 0.2, 0.5, *POLLS_S[1:]):
            await self.clock.sleep(delay_s)
            try:
                if await gone():
                    failpoint.reach("object_gone")
                    for key, amount in amounts.items():
                        await self.counters.adjust(key, amount, name, fence)
                    failpoint.reach("given_back")
                    return
            except (GatewayError, StoreDown) as error:
                log.warning(
                    "cannot see yet whether an object is gone", object=name, error=str(error)
                )
