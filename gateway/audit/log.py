"""The audit log as the rest of the gateway sees it: intents that are on disk before they count, and
everything else behind them in order.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from cbrgateway.v1 import errors_pb2
from msgspec import Struct

from gateway.audit import events
from gateway.audit.call_record import FLOOR, Activity, Level, Levels
from gateway.audit.events import Event, own_record
from gateway.audit.export import Exporter
from gateway.audit.intents import MAX_UNKNOWN, PENDING, UNKNOWN, Entry, unresolved
from gateway.audit.record import LeftOut, OpenIntent, Resource
from gateway.audit.redaction import Redactor
from gateway.audit.settings import LevelRule
from gateway.audit.task_record import TaskActivity
from gateway.audit.writer import Refused, Writer
from gateway.errors import GatewayError

_RETRY_S: Final = 1.0
_STEP_MS: Final = 1000
"""By how much the clock must go back for a record: less is what NTP does all the time."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Progress(Struct, frozen=True):
    """How far the log is.

    `written_at`: when records were last made durable, 0 before the first; `unsent`: durable ones
    that the collector does not have, None where there is no collector.
    """

    trouble: str = ""
    waiting: int = 0
    lost: int = 0
    written_at: float = 0.0
    unsent: int | None = None


class Settled(Struct, frozen=True):
    """A change of which the result was learnt: who called for it, in which project, the objects
    that it was about and that it made, as (type, id), and what CBR left out of it.
    """

    principal: str = ""
    project: str = ""
    resources: tuple[tuple[str, str], ...] = ()
    left_out: LeftOut | None = None


class Audit:
    """One per process. Without a writer nothing is recorded and nothing refused."""

    def __init__(
        self,
        writer: Writer | None,
        redactor: Redactor,
        rules: Sequence[LevelRule],
        *,
        refuse_reads: bool,
        exporter: Exporter | None = None,
    ) -> None:
        self._writer = writer
        self.redactor = redactor
        self._levels = Levels(rules)
        self._refuse_reads = refuse_reads
        self._exporter = exporter
        self._unsettled: dict[str, OpenIntent] = {}
        self._latest_ms = 0

    @property
    def on(self) -> bool:
        return self._writer is not None

    @property
    def trouble(self) -> str:
        """Why nothing can be recorded now; empty while it can."""
        return self._writer.trouble if self._writer is not None else ""

    def progress(self) -> Progress:
        """May be asked for in any thread."""
        if self._writer is None:
            return Progress()
        writer, exporter = self._writer, self._exporter
        unsent = exporter.unsent if exporter is not None else None
        return Progress(writer.trouble, writer.waiting, writer.lost, writer.written_at, unsent)

    def take_over(self, rules: Sequence[LevelRule]) -> None:
        """Other rules, for the calls that begin from now on."""
        self._levels = Levels(rules)

    def level(self, rpc: str, tenant: str, otherwise: Level, *, floor: bool) -> Level:
        """How much of a call is recorded. `floor`: it is a change or was refused."""
        found = self._levels.of(rpc, tenant, otherwise)
        return max(found, FLOOR) if floor else found

    def guard(self, *, reads: bool) -> None:
        """Raises AUDIT_DOWN for a call that must not begin while records cannot be written."""
        if (
            self._writer is not None
            and (not reads or self._refuse_reads)
            and (trouble := self._writer.trouble)
        ):
            raise _down(trouble)

    # Calls
    # ----------------------------------------------------------------------------------------------

    async def intended(self, activity: Activity) -> None:
        """Returns once the intent is on disk.

        Raises AUDIT_DOWN: then the change must not be made.
        """
        if self._writer is None:
            return
        self._note_time(activity.time)
        try:
            await self._writer.durable(
                Entry(activity.body(events.CHANGE_INTENDED), opens=activity.opened())
            )
        except Refused as refusal:
            raise _down(str(refusal)) from None

    def ended(self, event: Event, activity: Activity) -> None:
        """A call's end.

        Of a change of which the result is not known yet, `settled` tells it later.
        """
        if activity.change_result in {PENDING, UNKNOWN}:
            self._remember(
                activity.uid,
                activity.declared.rpc,
                activity.caller.tenant,
                unknown=activity.change_result == UNKNOWN,
            )
        self._write(event, activity)

    def settled(self, uid: str, change_result: str, about: Callable[[], Settled] = Settled) -> None:
        """What became of a change was learnt; passed over if it is known, or nobody asked.

        `about`: what is known of it; asked only where that is recorded.
        """
        intent = self._unsettled.get(uid)
        if intent is None or self._writer is None or (change_result == UNKNOWN and intent.unknown):
            return
        if change_result == UNKNOWN:
            self._remember(uid, intent.operation, intent.tenant, unknown=True)
        else:
            del self._unsettled[uid]
        known = about()
        body = own_record(
            events.CHANGE_SETTLED,
            subject=uid,
            tenant=intent.tenant,
            principal=known.principal,
            project=known.project,
            operation=intent.operation,
            resources=tuple(Resource(type=kind, uid=uid) for kind, uid in known.resources),
            change_result=change_result,
            skipped_resources=known.left_out,
        )
        self._writer.submit(Entry(body, ends=(uid, change_result)))

    def unresolved(self, intents: Iterable[OpenIntent]) -> None:
        """Changes and streams of an earlier life whose end is not recorded; those of which not even
        that is recorded get a record that says so.
        """
        for intent in intents:
            if not intent.stream:
                self._remember(intent.uid, intent.operation, intent.tenant, unknown=True)
            if not intent.unknown and self._writer is not None:
                self._writer.submit(unresolved(intent))

    @property
    def unsettled(self) -> list[str]:
        """Ids of the changes whose result is not known yet."""
        return list(self._unsettled)

    # Streams and tasks
    # ----------------------------------------------------------------------------------------------

    def mark_removed(self, operation: str, vault_id: str, uid: str, tenant: str) -> None:
        """The gateway's own tag of a change is about to be taken off a vault, for a tenant.

        `operation`: the RPC that would do so for a caller.
        """
        self._own(
            own_record(
                events.MARK_REMOVED,
                subject=uid,
                tenant=tenant,
                operation=operation,
                resources=(Resource(type="vault", uid=vault_id),),
            )
        )

    def stream_started(self, activity: Activity) -> None:
        """Its end must be told by `ended`, or the next start tells that nobody knows it."""
        self._write(events.STREAM_STARTED, activity)

    def stream_progressed(self, activity: Activity) -> None:
        """`activity.stream` says how far it has come.

        To be told every few minutes, not with every message.
        """
        self._write(events.STREAM_PROGRESSED, activity)

    async def task_ended(self, activity: TaskActivity) -> None:
        """The end of work at CBR; returns once it is on disk.

        Raises Refused where it cannot be written now.
        """
        if self._writer is not None:
            await self._writer.durable(Entry(activity.body()))

    # Below
    # ----------------------------------------------------------------------------------------------

    def _own(self, body: bytes) -> None:
        """Writes a record that the gateway makes by itself."""
        if self._writer is not None:
            self._writer.submit(Entry(body))

    def _write(self, event: Event, activity: Activity) -> None:
        if self._writer is not None:
            self._note_time(activity.time)
            opens = activity.opened(stream=True) if event is events.STREAM_STARTED else None
            ends = (
                (activity.uid, activity.change_result)
                if event in {events.CHANGE_ENDED, events.STREAM_ENDED}
                else None
            )
            self._writer.submit(Entry(activity.body(event), opens, ends))

    def _remember(self, uid: str, operation: str, tenant: str, *, unknown: bool) -> None:
        self._unsettled[uid] = OpenIntent(
            uid=uid, operation=operation, tenant=tenant, unknown=unknown
        )
        while len(self._unsettled) > MAX_UNKNOWN:
            del self._unsettled[next(iter(self._unsettled))]

    def _note_time(self, seconds: float) -> None:
        now_ms = round(seconds * 1000)
        if now_ms < self._latest_ms - _STEP_MS:
            back_ms = self._latest_ms - now_ms
            log.warning("the clock was set back", milliseconds=back_ms)
            self._own(own_record(events.CLOCK_STEPPED_BACK, back_ms=back_ms))
            self._latest_ms = now_ms
        self._latest_ms = max(self._latest_ms, now_ms)


def _down(trouble: str) -> GatewayError:
    log.warning("a call was refused, since its record cannot be written", cause=trouble)
    text = (
        "The audit log cannot be written, so the call was not made; nothing was sent. Repeat it in"
        " a moment."
    )
    return GatewayError(errors_pb2.ERROR_REASON_AUDIT_DOWN, text, retry_after_s=_RETRY_S)
