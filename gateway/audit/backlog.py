"""The records of a log that another place does not have yet. The files are the queue: what has been sent is noted beside them, by number."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from gateway.audit.chain import stated
from gateway.audit.segments import SegmentFile, segments

_MAX_LINES: Final = 500
_MAX_BYTES: Final = 1 << 20

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Backlog:
    """One writer's. `durable` answers the number of the last record that is on disk for sure. Used by one thread."""

    def __init__(self, directory: Path, writer: str, durable: Callable[[], int]) -> None:
        self._directory = directory
        self._writer = writer
        self._durable = durable
        self._note = directory / f"{writer}.sent"
        self.sent = self._noted()
        """The number of the last record that has been sent."""
        self._walk = self._lines()

    def take(self) -> list[bytes]:
        """The next lines, as many as fit into one request; none while there are none. Raises OSError."""
        lines: list[bytes] = []
        size = 0
        while size < _MAX_BYTES and len(lines) < _MAX_LINES and (line := next(self._walk)) is not None:
            lines.append(line)
            size += len(line)
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
            noted = int(self._note.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0
        if noted > self._durable():
            log.warning("the audit log is another one than that which was sent before: it is sent from its beginning", writer=self._writer)
            return 0
        return noted

    def _lines(self) -> Iterator[bytes | None]:
        """Without end: the lines that count, from the first one that was not sent, and None whenever there is no further one yet."""
        number, offset, last = self._begin(), 0, self.sent
        while True:
            # Before the files are listed: where writing had failed, the segment that says how far the one before counts is there by then.
            limit = self._durable()
            each, following = self._two(number)
            if each is None:
                yield None
                continue
            if each.number != number:
                number, offset = each.number, 0
            end, data = _end_before(following), _data(each, offset)
            for line in _complete(data or b""):
                said = stated(line)
                if said is not None and said.sequence > min(limit, end):
                    break
                offset += len(line) + 1
                if said is not None and said.sequence > last:
                    last = said.sequence
                    yield line
            if following is not None and (data is None or last >= end or end == sys.maxsize):
                number, offset = following.number, 0
            else:
                yield None

    def _begin(self) -> int:
        """The segment in which the first record stands that was not sent."""
        files = segments(self._directory).get(self._writer, [])
        return next((each.number for each in reversed(files) if _end_before(each) <= self.sent), 0)

    def _two(self, number: int) -> tuple[SegmentFile | None, SegmentFile | None]:
        """The segment of this number, or the first one after it, and the one that follows."""
        files = [each for each in segments(self._directory).get(self._writer, []) if each.number >= number]
        return (files[0] if files else None), (files[1] if len(files) > 1 else None)


def _end_before(segment: SegmentFile | None) -> int:
    """The number of the last record before a segment; that of no record at all where nobody can tell."""
    try:
        header = segment.header() if segment is not None else None
    except OSError:
        header = None
    if header is None:
        return sys.maxsize
    return header.previous.sequence if header.previous is not None else 0


def _data(segment: SegmentFile, offset: int) -> bytes | None:
    """None if it cannot be read; then that is in the log."""
    try:
        return segment.data(offset)
    except OSError as error:
        log.error("a segment of the audit log cannot be read, and is not sent", file=str(segment.path), cause=error.strerror)  # noqa: TRY400 - says it all
        return None


def _complete(data: bytes) -> Iterator[bytes]:
    """The complete lines, without their line feeds."""
    begin = 0
    while (end := data.find(b"\n", begin)) >= 0:
        yield data[begin:end]
        begin = end + 1
