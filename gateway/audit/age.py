"""How old a segment is, on more than one clock's word.

A clock that is set, or wrong when the machine starts, says any age. What it cannot make is the time
that writers were seen to run: they begin segments again and again, by a clock that nobody sets, and
each says when. So a segment is as old as these moments show. What lies between two of them counts,
but no more than the pause that is usual, whatever the clock has done meanwhile.
"""

import errno
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec

from gateway.audit.chain import GENESIS, Head, Keys, follows, stated
from gateway.audit.header import RecordHeader, header_of, record_header
from gateway.audit.record import Previous
from gateway.audit.segments import Damaged, SegmentFile, segments


def passed(seen: Iterable[int], since: int, now: float, pause: float) -> float:
    """How much time writers were seen to run since a moment; `seen`: when, in order.

    A pause that was longer counts as one of `pause`.
    """
    moments = (since, *(moment for moment in seen if since < moment < now), now)
    return sum(min(after - before, pause) for before, after in pairwise(moments))


def seen_in(directory: Path, keys: Keys) -> list[int]:
    """The moments at which all writers of a directory began segments, in order, in milliseconds
    since 1970. Raises OSError.
    """
    begun = (_proven_begin(each, keys) for files in segments(directory).values() for each in files)
    return sorted(first.time for first in begun if first is not None)


def _proven_begin(segment: SegmentFile, keys: Keys) -> RecordHeader | None:
    """The first record of a segment, if the key proves it."""
    try:
        line = segment.first_line()
        first = record_header(line)
    except (OSError, msgspec.MsgspecError):
        return None
    header = first.unmapped.segment
    return (
        first
        if header is not None and follows(keys.chain, _mac_before(header.previous), line)
        else None
    )


def proven_end(segment: SegmentFile, keys: Keys) -> tuple[Head, int]:
    """The last record of a segment, and its time: by the key, since nobody else may decide what is
    old. Raises Damaged.
    """
    data = segment.data()
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    header = header_of(lines[0]) if lines else None
    if header is not None and (header.writer, header.number) == (segment.writer, segment.number):
        before = stated(lines[-2]) if len(lines) > 1 else Head(mac=_mac_before(header.previous))
        end = stated(lines[-1])
        if before is not None and end is not None and follows(keys.chain, before.mac, lines[-1]):
            return end, record_header(lines[-1]).time
    raise Damaged(errno.EBADMSG, "it was changed, or written with another key", str(segment.path))


def _mac_before(previous: Previous | None) -> bytes:
    return bytes.fromhex(previous.mac) if previous is not None else GENESIS
