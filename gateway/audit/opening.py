"""From the settings to a log that takes records."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from gateway.audit import events
from gateway.audit.anchors import AnchorFile, AnchorLog, AnchorPlace, Anchors, AnchorStore, last_of
from gateway.audit.chain import Keys
from gateway.audit.events import own_record
from gateway.audit.export import Backlog, Exporter
from gateway.audit.intents import Entry, unresolved
from gateway.audit.lock import Lock, Running, Unusable, locked
from gateway.audit.log import Audit
from gateway.audit.record import Anchor, OpenIntent, Previous
from gateway.audit.recovery import Position, position, repaired, stale_writer, unreadable
from gateway.audit.redaction import Redactor
from gateway.audit.retention import Retention, RetentionWorker
from gateway.audit.segments import segments
from gateway.audit.settings import AuditSettings
from gateway.audit.sinks import FileSink, Sink, StdoutSink
from gateway.audit.writer import Refused, Writer
from gateway.background import in_background, on_loop
from gateway.renewal import Renewable
from gateway.state import KeyValue, StoreDown

_MIB = 1024 * 1024
_TIMEOUT_S = 3.0
"""How long the name of this process may be held by another one that starts: it may be closing what
it takes for a writer that is gone.
"""
_CLOCKS_S = 3.0
Clocks = Callable[[], Coroutine[Any, Any, Sequence[float]]]
"""What clocks of others than this machine say now, as far as they are known: seconds since 1970."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@contextlib.asynccontextmanager
async def open_audit(
    settings: AuditSettings,
    stored: KeyValue | None = None,
    clocks: Clocks | None = None,
    renew: Callable[[Renewable], None] = lambda _: None,
) -> AsyncIterator[Audit]:
    """The log, ended properly on leaving; `stored` keeps the last anchors of files, too. `renew` is
    told what file a copy to a collector has read.

    Without other `clocks` nothing that is old is removed.

    Raises Unusable for a directory that cannot be used or holds what does not fit the chain.
    """
    if not settings.on:
        yield Audit(None, Redactor(b"", {}), (), refuse_reads=False)
        return
    assert settings.key is not None
    keys = Keys.of(settings.key.reveal())
    kept = AnchorStore(stored) if stored is not None and settings.directory is not None else None
    async with contextlib.AsyncExitStack() as stack:
        anchors = Anchors(_places(settings, kept))
        anchors.start()
        stack.push_async_callback(asyncio.to_thread, anchors.close)
        if settings.directory is None:
            writer, intents = _writer(settings, StdoutSink(keys), anchors), list[OpenIntent]()
            writer.start()
            stack.push_async_callback(writer.aclose)
            exporter = None
        else:
            known = await _known(settings, settings.directory, keys, kept)
            files = _Files(settings, settings.directory, keys, known, clocks, renew)
            writer, intents, exporter = await files.opened(stack, anchors)
        audit = Audit(
            writer,
            Redactor(keys.redaction),
            settings.policy,
            refuse_reads=settings.reads == "refuse",
            exporter=exporter,
        )
        audit.unresolved(intents)
        yield audit


def _places(settings: AuditSettings, kept: AnchorStore | None) -> list[AnchorPlace]:
    first = AnchorFile(settings.anchors) if settings.anchors is not None else AnchorLog()
    return [first] if kept is None else [first, kept]


def _writer(settings: AuditSettings, sink: Sink, anchors: Anchors) -> Writer:
    return Writer(
        sink, timeout_s=settings.timeout_s, anchor_s=settings.anchor_s, anchored=anchors.put
    )


async def _known(
    settings: AuditSettings, directory: Path, keys: Keys, kept: AnchorStore | None
) -> list[Anchor]:
    """The last anchors of the logs in the directory.

    A store that is down keeps nobody from starting; a file that cannot be read does.
    """
    found = await in_background(lambda: anchors_of_file(settings, directory, keys))
    if kept is not None:
        try:
            found += await kept.last(keys)
        except StoreDown as down:
            log.warning(
                "the store does not answer: whether the audit log was cut short since its last"
                " anchor there is not known",
                cause=str(down),
            )
    return found


def anchors_of_file(settings: AuditSettings, directory: Path, keys: Keys) -> list[Anchor]:
    """Those in `audit.anchors`. Raises Unusable."""
    if settings.anchors is None:
        return []
    try:
        writers = segments(directory) if directory.is_dir() else ()
        return AnchorFile(settings.anchors).last(keys, {settings.writer_name, *writers})
    except OSError as error:
        text = (
            f"audit.anchors {settings.anchors} cannot be read: {error.strerror}. The gateway looks"
            " there for what its log must hold"
        )
        raise Unusable(text) from error


class _Files(Struct, frozen=True):
    """A log in a directory: taken up where this writer's last process left it.

    `known`: anchors of all writers.
    """

    settings: AuditSettings
    directory: Path
    keys: Keys
    known: Sequence[Anchor]
    clocks: Clocks | None
    renew: Callable[[Renewable], None]

    async def opened(
        self, stack: contextlib.AsyncExitStack, anchors: Anchors
    ) -> tuple[Writer, list[OpenIntent], Exporter | None]:
        """A writer that has begun, the changes that earlier processes left open, and who sends a
        copy. They end in the opposite order: retention has its removals recorded, and what is
        recorded is sent.

        Raises Unusable.
        """
        settings, name = self.settings, self.settings.writer_name
        # A disk that hangs must not keep a start from being given up.
        lock = await in_background(
            lambda: stack.enter_context(locked(self.directory, name, _TIMEOUT_S))
        )
        found, others = await in_background(self._taken_up)
        sink = self._sink(found, lock)
        writer = _writer(settings, sink, anchors)
        if found.torn is not None:
            writer.submit(repaired(found.torn))
        exporter = self._exporter(sink)
        retention = RetentionWorker(self._retention(writer, exporter))
        sink.on_closed = retention.closed
        if exporter is not None:
            exporter.start()
            stack.push_async_callback(asyncio.to_thread, exporter.close)
        writer.start()
        stack.push_async_callback(writer.aclose)
        retention.start()
        stack.push_async_callback(asyncio.to_thread, retention.close)
        return writer, [*found.open, *others], exporter

    def _sink(self, found: Position, lock: Lock) -> FileSink:
        settings = self.settings
        return FileSink(
            self.directory,
            settings.writer_name,
            self.keys,
            max_bytes=round(settings.segment_mib * _MIB),
            max_age_s=settings.segment_s,
            hold=lock.hold,
            head=found.head,
            number=found.number,
            open=found.open,
        )

    def _retention(self, writer: Writer, exporter: Exporter | None) -> Retention:
        settings = self.settings
        return Retention(
            self.directory,
            settings.writer_name,
            self.keys,
            compress=settings.compress,
            retention_days=settings.retention_days,
            recorded=self._recorded(writer),
            clocks=self._told(),
            sent=(lambda: exporter.sent) if exporter is not None else None,
            segment_s=settings.segment_s,
        )

    def _taken_up(self) -> tuple[Position, list[OpenIntent]]:
        """Where this writer's log ended, and what the others' left open. Raises Unusable."""
        name = self.settings.writer_name
        try:
            others = [
                intent
                for each in segments(self.directory)
                if each != name
                for intent in self._left_behind(each)
            ]
            return position(self.directory, name, self.keys, last_of(self.known, name)), others
        except OSError as error:
            raise unreadable(self.directory, error) from error

    def _exporter(self, sink: FileSink) -> Exporter | None:
        if self.settings.otlp is None:
            return None
        # Here, since its messages are installed for it only.
        from gateway.audit.otlp import OtlpCollector  # noqa: PLC0415

        try:
            collector = OtlpCollector(self.settings.otlp, sink.writer)
        except OSError as error:
            raise Unusable(
                f"audit.otlp.ca_file {error.filename} cannot be read: {error.strerror}"
            ) from error
        if (certificates := collector.certificates()) is not None:
            self.renew(certificates)
        return Exporter(Backlog(self.directory, sink.writer, lambda: sink.head.sequence), collector)

    def _left_behind(self, writer: str) -> list[OpenIntent]:
        """What another writer, now gone, left open: its own log is told that nobody knows."""
        try:
            with stale_writer(self.directory, writer, self.keys, self.known) as sink:
                if dangling := sink.open.dangling:
                    sink.append([unresolved(each) for each in dangling])
                return list(sink.open)
        except Running:
            # It looks after its log itself.
            return []
        except (Unusable, OSError) as problem:
            log.warning("another writer's log is left as it is", writer=writer, cause=str(problem))
            return []

    def _told(self) -> Callable[[], Sequence[float]]:
        """How the retention's thread asks the other clocks."""
        loop = asyncio.get_running_loop()

        def told() -> Sequence[float]:
            if self.clocks is None:
                return ()
            try:
                return on_loop(loop, self.clocks(), _CLOCKS_S)
            except TimeoutError:
                return ()

        return told

    def _recorded(self, writer: Writer) -> Callable[[str, Previous], bool]:
        """How the retention's thread has it recorded that segments are about to be removed."""
        loop = asyncio.get_running_loop()

        def of_our_own(entry: Entry) -> bool:
            try:
                on_loop(loop, writer.durable(entry), self.settings.timeout_s + 1)
            except (Refused, TimeoutError):
                return False
            return True

        def of_another(name: str, entry: Entry) -> bool:
            try:
                with stale_writer(self.directory, name, self.keys, self.known) as sink:
                    sink.append([entry])
            except Running:
                # It looks after its segments itself.
                return False
            except Unusable as problem:
                log.warning(
                    "another writer's segments are left as they are",
                    writer=name,
                    cause=str(problem),
                )
                return False
            return True

        def recorded(name: str, removed: Previous) -> bool:
            entry = Entry(own_record(events.SEGMENTS_REMOVED, removed=removed))
            return (
                of_our_own(entry) if name == self.settings.writer_name else of_another(name, entry)
            )

        return recorded
