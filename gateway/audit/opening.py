"""From the settings to a log that takes records."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.audit import events
from gateway.audit.anchors import AnchorFile, last_of, log_anchor
from gateway.audit.audit import Audit
from gateway.audit.chain import Keys
from gateway.audit.files import Entry, FileSink, Sink
from gateway.audit.keeping import Keeper, Keeping
from gateway.audit.own import own_record
from gateway.audit.record import Anchor, OpenIntent, Previous
from gateway.audit.redact import Redactor
from gateway.audit.resume import Unusable, locked, position
from gateway.audit.segments import segments
from gateway.audit.settings import AuditSettings
from gateway.audit.stdout import StdoutSink
from gateway.audit.writer import Refused, Writer

_MIB = 1024 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Log:
    """A sink with what was found where it goes on."""

    sink: Sink
    first: tuple[Entry, ...] = ()
    open: tuple[OpenIntent, ...] = ()


@contextlib.asynccontextmanager
async def open_audit(settings: AuditSettings) -> AsyncIterator[Audit]:
    """The log, ended properly on leaving. Raises Unusable for a directory that cannot be used or holds what does not fit the chain."""
    if not settings.on:
        yield Audit(None, Redactor(b"", {}), (), refuse_reads=False)
        return
    assert settings.key is not None
    keys = Keys.of(settings.key.reveal())
    async with contextlib.AsyncExitStack() as stack:
        found = _Log(StdoutSink(keys)) if settings.directory is None else _files(settings, settings.directory, keys, stack)
        anchor = AnchorFile(settings.anchors).add if settings.anchors is not None else log_anchor
        writer = Writer(found.sink, patience_s=settings.timeout_s, anchor_s=settings.anchor_s, anchor=anchor)
        for entry in found.first:
            writer.submit(entry)
        if isinstance(found.sink, FileSink):
            keeper = _keeper(settings, found.sink.directory, writer)
            found.sink.on_closed = keeper.closed
            keeper.start()
            stack.push_async_callback(asyncio.to_thread, keeper.close)
        writer.start()
        stack.push_async_callback(writer.aclose)
        audit = Audit(writer, Redactor(keys.redaction), settings.policy, refuse_reads=settings.reads == "refuse")
        audit.unresolved(found.open)
        yield audit


def _files(settings: AuditSettings, directory: Path, keys: Keys, stack: contextlib.AsyncExitStack) -> _Log:
    name = settings.writer_name
    stack.enter_context(locked(directory, name))
    try:
        anchors = AnchorFile(settings.anchors).read() if settings.anchors is not None else []
        others = [intent for writer in segments(directory) if writer != name for intent in _left_behind(directory, writer, keys, anchors)]
        found = position(directory, name, keys, last_of(anchors, name))
    except OSError as error:
        raise Unusable(
            f"{error.filename or directory} cannot be read: {error.strerror}. The audit log goes on where it ended, so it must be readable"
        ) from error
    first = []
    if found.torn is not None:
        log.warning("the last line of the audit log was incomplete and is set aside", file=str(found.torn.path), bytes=found.torn.size)
        first.append(Entry(own_record(events.LOG_REPAIRED, torn_bytes=found.torn.size, torn_file=found.torn.path.name)))
    sink = FileSink(
        directory,
        name,
        keys,
        max_bytes=round(settings.segment_mib * _MIB),
        max_age_s=settings.segment_hours * 3600,
        head=found.head,
        number=found.number,
        open=found.open,
    )
    return _Log(sink, tuple(first), (*found.open, *others))


def _left_behind(directory: Path, writer: str, keys: Keys, anchors: list[Anchor]) -> list[OpenIntent]:
    """What another writer left open that is not running any more: its own log is told that nobody knows."""
    try:
        with locked(directory, writer):
            found = position(directory, writer, keys, last_of(anchors, writer))
            dangling = found.open.dangling
            if not dangling:
                return list(found.open)
            sink = FileSink(directory, writer, keys, max_bytes=_MIB, max_age_s=3600, head=found.head, number=found.number, open=found.open)
            sink.append([_unresolved(each) for each in dangling])
            sink.close()
            return [OpenIntent(uid=each.uid, operation=each.operation, tenant=each.tenant, unknown=True) for each in found.open]
    except (Unusable, OSError) as problem:
        log.warning("another writer's log is left as it is", writer=writer, cause=str(problem))
        return []


def _unresolved(intent: OpenIntent) -> Entry:
    body = own_record(events.CHANGE_UNRESOLVED, subject=intent.uid, tenant=intent.tenant, operation=intent.operation, fate="UNKNOWN")
    return Entry(body, ends=(intent.uid, "UNKNOWN"))


def _keeper(settings: AuditSettings, directory: Path, writer: Writer) -> Keeper:
    loop = asyncio.get_running_loop()

    def recorded(removed: Previous) -> bool:
        entry = Entry(own_record(events.SEGMENTS_REMOVED, removed=removed))
        try:
            asyncio.run_coroutine_threadsafe(writer.durable(entry), loop).result(timeout=settings.timeout_s + 1)
        except (Refused, TimeoutError):
            return False
        return True

    return Keeper(Keeping(directory, settings.writer_name, settings.compress, settings.retention_days, recorded))
