"""Looks for the outcomes that nobody knows, until each is settled by what CBR shows: at 0, 1, 2, 5,
... seconds. A change is never sent again from here.
"""

import asyncio
from typing import Final

import structlog
from msgspec import Struct, field

from gateway import failpoint
from gateway.changes import evidence
from gateway.changes.bounds import Wait
from gateway.changes.case import Case
from gateway.changes.evidence import Evidence, Sign
from gateway.changes.ledger import Ending, Ledger
from gateway.changes.named_tasks import NamedTasks
from gateway.changes.record import NOT_UNDERSTOOD, Note, OperationDetail, undecided
from gateway.changes.submissions import Submissions
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.limits.recount import Recounter
from gateway.limits.settings import QuotaSettings
from gateway.state import OperationStore, OperationView, State, StoreDown
from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.change_tasks import OPERATION_CAP_S
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.retry import READ_CAP_S

POLLS_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_LOOKS_AT_ONCE: Final = 32
"""Those of one project share its lists, so that CBR is asked for few of them."""
ORPHAN_S: Final = OPERATION_CAP_S + 30.0
"""After this no process still works on a SENT operation, whatever else is known of that."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class OutcomeSearch(Struct):
    """One per process."""

    operations: OperationStore
    ledger: Ledger
    recounter: Recounter
    submissions: Submissions
    reader: UpstreamReader
    clock: Clock
    settings: QuotaSettings
    tasks: NamedTasks
    _waits: dict[str, Wait] = field(default_factory=dict)
    """How long each outcome that is looked for is waited for."""
    _looks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LOOKS_AT_ONCE))

    def watch(self, op_id: str) -> None:
        """Looks for what became of an operation until that is known."""
        if not self.settings.recovery:
            log.warning(
                "an outcome is not known, and recovery is off: QuotaService/ReleaseReservation"
                " settles it",
                op=op_id,
            )
            return
        if op_id not in self.tasks:
            wait = self._waits[op_id] = Wait(
                self.settings.settle_s, self.settings.through_s, self.clock.monotonic()
            )
            self.tasks.start(op_id, self._settle(op_id, wait))

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
            else max(0.0, begun + ORPHAN_S - now) + self.settings.settle_s
        )
        return now + max(0.0, left_s) + READ_CAP_S

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
            except (GatewayError, StoreDown, KeyError, *NOT_UNDERSTOOD) as error:
                log.warning("an outcome cannot be looked up now", op=op_id, error=str(error))
            except Exception:
                log.exception("an outcome cannot be looked up; the others are", op=op_id)

    async def _settled(self, op_id: str, wait: Wait) -> bool:
        """One probe; True when the operation is settled.

        Raises GatewayError, StoreDown or KeyError (project no longer served).
        """
        # A store that lost its data is told of the operation again, before its absence is taken for
        # its end.
        await self.recounter.life.check()
        op = await self.operations.get(op_id)
        if op is None or op.state not in {State.SENT, State.UNKNOWN}:
            self.ledger.under_way.pop(op_id, None)
            return True
        failpoint.reach("before_probe")
        asked = self.clock.monotonic()
        found = await self._shown(op, wait, asked)
        failpoint.reach("after_probe")
        if not await self._concluded(op, found, wait, asked):
            return False
        failpoint.reach("after_settled")
        log.info("an outcome is known now", op=op.id, operation=op.rpc, outcome=found.sign.name)
        self.recounter.soon()
        return True

    async def _shown(self, op: OperationView, wait: Wait, asked: float) -> Evidence:
        """What CBR shows of an operation. Raises as `_settled`."""
        try:
            trace = OperationDetail.of(op.detail)
            request = self.reader.catalog[op.rpc].request_type.FromString(trace.request)
            return await evidence.probe(
                Case(op, trace, request, self.reader, self.submissions.claims, wait.missed)
            )
        except (GatewayError, KeyError, *NOT_UNDERSTOOD) as error:
            if wait.over(asked):
                why = f"CBR cannot be asked: {_why(error)}"
                await self._leave_to_people(op, why, over=False)
            raise

    async def _concluded(
        self, op: OperationView, found: Evidence, wait: Wait, asked: float
    ) -> bool:
        """Whether that settles it, which is then recorded."""
        match found.sign:
            case Sign.FOUND:
                await self._carried_out(op, found)
                return True
            case Sign.ABSENT if wait.proves(asked, found.listed):
                await self.ledger.end(op, Ending(ChangeResult.NOTHING))
                return True
            case Sign.SEVERAL | Sign.NO_WAY if wait.over(asked):
                await self._leave_to_people(op, found.why, over=found.sign is Sign.NO_WAY)
        return False

    async def _leave_to_people(self, op: OperationView, why: str, *, over: bool) -> None:
        """Whoever asks is told that nobody can tell; CBR is still asked now and then.

        Raises StoreDown.
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
        """Settles an operation as an operator says, also one whose record is not understood."""
        try:
            await (
                self._carried_out(op, Evidence(Sign.FOUND))
                if carried_out
                else self.ledger.end(op, Ending(ChangeResult.NOTHING))
            )
        except (KeyError, *NOT_UNDERSTOOD):
            await self.ledger.end(op, Ending(ChangeResult.DONE))
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
        await self.ledger.end(op, Ending(ChangeResult.DONE, response, found.resource_id, note))
        if asynchronous:
            trace = OperationDetail.of(op.detail)
            self.submissions.follow(op.id, trace.project, trace.slots)


def _why(error: Exception) -> str:
    match error:
        case GatewayError():
            return error.message.rstrip(".")
        case KeyError():
            return "the gateway does not serve its project any more"
        case _:
            return "the record of the change in the store is not understood"
