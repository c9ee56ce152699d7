"""Sends a log's records to a collector: in their order, each at least once, however long the
collector is away and whenever this process ends.

The files are the queue: what has been sent is noted beside them, by number. Nothing waits for it
but retention: a segment that was not sent is not removed.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway.audit.chain import stated
from gateway.audit.segments import Damaged, SegmentFile, segments
from gateway.audit.worker import Worker
from gateway.regular_file import read_file

_MAX_LINES: Final = 500
_MAX_BYTES: Final = 1 << 20
_UNTOLD: Final = sys.maxsize
_LOOK_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_CLOSE_S: Final = 3.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Backlog:
    """One writer's.

    `durable` answers the number of the last record that is on disk for sure. Used by one thread.
    """

    def __init__(self, directory: Path, writer: str, durable: Callable[[], int]) -> None:
        self._directory = directory
        self._writer = writer
        self.durable = durable
        self._note = directory / f"{writer}.sent"
        self.sent = self._noted()
        """The number of the last record that has been sent."""
        self._last = self.sent
        self._number: int | None = None
        self._offset = 0
        self._walk = self._lines()

    def take(self) -> list[bytes]:
        """The next lines, as many as fit into one request; none while there are none.

        Raises OSError, and may then be called again.
        """
        lines: list[bytes] = []
        size = 0
        try:
            while (
                size < _MAX_BYTES
                and len(lines) < _MAX_LINES
                and (line := next(self._walk)) is not None
            ):
                lines.append(line)
                size += len(line)
        except OSError:
            # A generator that has raised is over. The next one goes on where this one was.
            self._walk = self._lines()
            if not lines:
                raise
        return lines

    def note(self, line: bytes) -> None:
        """All records up to this line have been sent. Raises OSError."""
        said = stated(line)
        assert said is not None
        self.sent = said.sequence
        draft = self._note.with_name(f".{self._note.name}")
        draft.write_text(f"{self.sent}\n", encoding="ascii")
        draft.chmod(0o600)
        draft.rename(self._note)

    def _noted(self) -> int:
        try:
            noted = int(read_file(self._note))
        except (OSError, ValueError):
            return 0
        if noted > self.durable():
            log.warning(
                "the audit log is another one than that which was sent before: it is sent from its"
                " beginning",
                writer=self._writer,
            )
            return 0
        return noted

    def _lines(self) -> Iterator[bytes | None]:
        """Without end: the lines that count, from the first one not yielded, and None whenever
        there is no further one yet. Raises OSError.
        """
        while True:
            # Before the files are listed: where writing had failed, the segment that says how far
            # the one before counts is there by then.
            limit = self.durable()
            each, following = self._two()
            if each is None:
                yield None
                continue
            end = _end_before(following)
            data = _data(each, self._offset)
            for line in _complete(data or b""):
                said = stated(line)
                if said is not None and said.sequence > min(limit, end):
                    break
                self._offset += len(line) + 1
                if said is not None and said.sequence > self._last:
                    self._last = said.sequence
                    yield line
            if following is None or limit < end != _UNTOLD:
                # It is the last one yet, or goes further than what is known to be on disk.
                yield None
                continue
            if data is not None and self._last < end != _UNTOLD:
                log.error(
                    "records are missing in the audit log, and are not sent",
                    file=str(each.path),
                    first=self._last + 1,
                    last=end,
                )
            self._number, self._offset = following.number, 0

    def _two(self) -> tuple[SegmentFile | None, SegmentFile | None]:
        """The segment that is being read, or the first one after it; and the one that follows, if
        it says already how far the one before goes.
        """
        files = segments(self._directory).get(self._writer, [])
        if self._number is None:
            # The last segment before which everything has been sent.
            self._number = next(
                (each.number for each in reversed(files) if _end_before(each) <= self.sent), 0
            )
        rest = [each for each in files if each.number >= self._number]
        if not rest:
            return None, None
        if rest[0].number != self._number:
            self._number, self._offset = rest[0].number, 0
        following = rest[1] if len(rest) > 1 and rest[1].begun() else None
        return rest[0], following


def _end_before(segment: SegmentFile | None) -> int:
    """The number of the last record before a segment; _UNTOLD where there is none, or it is
    damaged, so that nobody can tell. Raises OSError.
    """
    try:
        header = segment.header() if segment is not None else None
    except Damaged:
        header = None
    if header is None:
        return _UNTOLD
    return header.previous.sequence if header.previous is not None else 0


def _data(segment: SegmentFile, offset: int) -> bytes | None:
    """None if it is damaged; then that is in the log. Raises OSError, which may pass."""
    try:
        return segment.data(offset)
    except Damaged as damage:
        log.error(  # noqa: TRY400 - says it all
            "a segment of the audit log cannot be read, and is not sent",
            file=str(segment.path),
            cause=damage.strerror,
        )
        return None


def _complete(data: bytes) -> Iterator[bytes]:
    """The complete lines, without their line feeds."""
    begin = 0
    while (end := data.find(b"\n", begin)) >= 0:
        yield data[begin:end]
        begin = end + 1


class Unsent(OSError):  # noqa: N818 - says what is the case
    """The collector has not taken the records. The text says why, and shows no secret."""


class Collector(Protocol):
    """Where records go."""

    def send(self, lines: list[bytes]) -> None:
        """Returns once the collector has them. Raises Unsent."""
        ...

    def close(self) -> None:
        """Ends a `send` that goes on, from another thread."""
        ...


class Exporter:
    """Sends what is in the backlog, in a thread of its own."""

    def __init__(self, backlog: Backlog, collector: Collector) -> None:
        self._backlog = backlog
        self._collector = collector
        self._batch: list[bytes] = []
        self._trouble = ""
        self._worker = Worker("audit-export", self._run, close_s=_CLOSE_S)

    @property
    def sent(self) -> int:
        """The number of the last record that the collector has."""
        return self._backlog.sent

    @property
    def unsent(self) -> int:
        """How many durable records the collector does not have."""
        return max(0, self._backlog.durable() - self._backlog.sent)

    def start(self) -> None:
        self._worker.start()

    def close(self) -> None:
        """Sends what is left, if that does not take long; the next process sends the rest."""
        self._worker.close()
        self._collector.close()
        self._worker.close()

    def _run(self) -> None:
        pause_s = _LOOK_S
        while True:
            closing = self._worker.closing
            problem = self._worker.tried(self._send, "sending the audit log failed inside")
            self._judge(problem)
            if closing:
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) if problem else _LOOK_S
            self._worker.pause(pause_s)

    def _send(self) -> None:
        """Sends all that is there. Raises OSError, of which Unsent is one."""
        while batch := self._batch or self._backlog.take():
            self._batch = batch
            self._collector.send(batch)
            self._batch = []
            self._backlog.note(batch[-1])

    def _judge(self, problem: str) -> None:
        if problem and problem != self._trouble:
            log.error(
                "audit records cannot be sent to the collector; they are kept and sent later",
                cause=problem,
                sent=self.sent,
            )
        if self._trouble and not problem:
            log.info("audit records are sent to the collector again", sent=self.sent)
        self._trouble = problem
