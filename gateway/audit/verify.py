"""Holds a directory of logs against the key and the anchors: every record must be there, in order,
and as it was written.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from msgspec import Struct, field

from gateway.audit.anchors import genuine
from gateway.audit.chain import Head, Keys, follows, stated
from gateway.audit.intents import OpenIntents
from gateway.audit.record import Anchor, Segment
from gateway.audit.segments import SegmentFile, abandoned_at, header_of, record_header, segments


class Bad(Struct, frozen=True):
    """The first record of a writer that is not as it was written.

    `sequence`: the number that was due there.
    """

    place: str
    sequence: int
    text: str

    def __str__(self) -> str:
        return f"{self.place}: record {self.sequence} {self.text}"


class Verdict(Struct):
    """What was found of one writer. `notes`: what is unusual and yet in order."""

    writer: str
    records: int = 0
    head: Head = field(default_factory=Head)
    bad: Bad | None = None
    notes: list[str] = field(default_factory=list)


class _Broken(Exception):  # noqa: N818 - says what is the case
    def __init__(self, bad: Bad) -> None:
        super().__init__(str(bad))
        self.bad = bad


def verify(
    directory: Path, keys: Keys, anchors: Iterable[Anchor] = (), writers: Collection[str] = ()
) -> list[Verdict]:
    """One verdict for each writer, or each of those that are named; also for those that only
    anchors know. Raises OSError.
    """
    known: dict[str, list[Anchor]] = {}
    for anchor in anchors:
        known.setdefault(anchor.writer, []).append(anchor)
    names = sorted({*segments(directory), *known})
    return [
        _verdict(directory, keys, name, known.get(name, []))
        for name in names
        if not writers or name in writers
    ]


def _verdict(directory: Path, keys: Keys, writer: str, anchors: Sequence[Anchor]) -> Verdict:
    files = segments(directory).get(writer, [])
    while True:
        try:
            return _Check(keys, writer, anchors).run(files)
        except FileNotFoundError:
            before, files = files, segments(directory).get(writer, [])
            if files == before:
                raise
            # Retention has removed a segment since it was listed.


class _Check:
    """The walk along one writer's chain."""

    def __init__(self, keys: Keys, writer: str, anchors: Sequence[Anchor]) -> None:
        self._keys = keys
        self._verdict = Verdict(writer)
        self._anchors = anchors
        self._wanted = {anchor.sequence for anchor in anchors}
        self._macs: dict[int, bytes] = {}
        self._open = OpenIntents()
        self._first_sequence = 1
        self._removed_through, self._removed_sequence = 0, 0
        self._place = writer

    def run(self, files: Sequence[SegmentFile]) -> Verdict:
        verdict = self._verdict
        try:
            for index, each in enumerate(files):
                if index and each.number != files[index - 1].number + 1:
                    raise self._broken(
                        f"is missing, with all of segment {files[index - 1].number + 1}"
                    )
                self._segment(each, files[index + 1] if index + 1 < len(files) else None)
            self._begun(files)
            self._anchored()
        except _Broken as broken:
            verdict.bad = broken.bad
            return verdict
        for what, streams in (("changes have no outcome", False), ("streams have no end", True)):
            if still := [each.uid for each in self._open.dangling if each.stream is streams]:
                verdict.notes.append(f"{len(still)} {what} yet: {', '.join(still[:5])}")
        return verdict

    def _begun(self, files: Sequence[SegmentFile]) -> None:
        if files and (
            files[0].number > self._removed_through + 1
            or self._first_sequence > self._removed_sequence + 1
        ):
            text = (
                f"and all up to {self._first_sequence - 1} are missing, of which no record says"
                " that they were removed"
            )
            raise _Broken(Bad(files[0].path.name, self._removed_sequence + 1, text))

    def _segment(self, segment: SegmentFile, following: SegmentFile | None) -> None:
        self._place = segment.path.name
        if following is not None and not following.begun():
            # It was about to be begun, which does not say how far this one goes.
            following = None
        *lines, rest = self._data(segment).split(b"\n")
        ends = abandoned_at(following)
        for number, line in enumerate(lines, start=1):
            if ends is not None and self._verdict.head.sequence == ends:
                self._verdict.notes.append(
                    f"{segment.path.name}: a failed write left {len(lines) - number + 1} lines that"
                    " count for nothing"
                )
                return
            self._place = f"{segment.path.name}:{number}"
            self._line(segment, number, line)
        if not lines and following is None:
            self._verdict.notes.append(
                f"{segment.path.name}: holds no complete record, as after a crash at its beginning"
            )
        elif rest and following is None:
            self._verdict.notes.append(
                f"{segment.path.name}: its last line is incomplete ({len(rest)} bytes), as after a"
                " crash or during a write"
            )
        elif rest and ends is None:
            self._place = f"{segment.path.name}:{len(lines) + 1}"
            raise self._broken("is cut short")

    def _data(self, segment: SegmentFile) -> bytes:
        try:
            return segment.data()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._broken(f"cannot be read: {error.strerror}") from None

    def _line(self, segment: SegmentFile, number: int, line: bytes) -> None:
        verdict = self._verdict
        if number == 1:
            self._begin(segment, header_of(line))
        said = stated(line)
        if said is None:
            raise self._broken("is not a record")
        if said.sequence != verdict.head.sequence + 1:
            raise self._broken(f"is not where it should be: record {said.sequence} stands there")
        if not follows(self._keys.chain, verdict.head.mac, line):
            raise self._broken("was changed, or written with another key")
        verdict.head = said
        verdict.records += 1
        record = record_header(line)
        self._open.see(record)
        if (removed := record.unmapped.removed) is not None:
            self._removed_through = max(self._removed_through, removed.segment)
            self._removed_sequence = max(self._removed_sequence, removed.sequence)
        if (displaced := record.unmapped.displaced) is not None:
            told = (
                f"record {said.sequence} says that segment {displaced.segment} {displaced.cause}"
                " while it was written to"
            )
            verdict.notes.append(f"{segment.path.name}: {told}")
        if said.sequence in self._wanted:
            self._macs[said.sequence] = said.mac

    def _begin(self, segment: SegmentFile, header: Segment | None) -> None:
        if header is None:
            raise self._broken("is not the first record of a segment")
        if (header.writer, header.number) != (segment.writer, segment.number):
            raise self._broken(f"belongs to segment {header.number} of writer {header.writer}")
        previous = (
            Head(header.previous.sequence, bytes.fromhex(header.previous.mac))
            if header.previous is not None
            else Head()
        )
        if self._verdict.records == 0:
            self._verdict.head, self._first_sequence = previous, previous.sequence + 1
        elif previous != self._verdict.head:
            raise self._broken(
                f"does not follow: the segment before ended with record {previous.sequence}, or"
                " another one stood there"
            )

    def _anchored(self) -> None:
        head = self._verdict.head
        for anchor in sorted(self._anchors, key=lambda each: each.sequence):
            if not genuine(self._keys, anchor):
                raise _Broken(
                    Bad(
                        "anchors",
                        anchor.sequence,
                        "has an anchor that was not signed with this key",
                    )
                )
            if anchor.sequence > head.sequence:
                raise _Broken(
                    Bad(
                        self._place,
                        head.sequence + 1,
                        f"and all after it are missing: record {anchor.sequence} was anchored",
                    )
                )
            if anchor.sequence >= self._first_sequence and self._macs.get(
                anchor.sequence
            ) != bytes.fromhex(anchor.mac):
                raise _Broken(Bad(self._place, anchor.sequence, "is not the one that was anchored"))

    def _broken(self, text: str) -> _Broken:
        return _Broken(Bad(self._place, self._verdict.head.sequence + 1, text))
