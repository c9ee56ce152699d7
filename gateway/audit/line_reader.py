"""The lines of a writer's segments that count: without what a failed write has left behind."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from gateway.audit.chain import stated
from gateway.audit.segments import SegmentFile

Unreadable = Callable[[SegmentFile, OSError], None]
"""Hears of a segment that cannot be read, and raises or returns."""


def raised(_segment: SegmentFile, error: OSError) -> None:
    """An Unreadable for who wants all or nothing."""
    raise error


def abandoned_at(following: SegmentFile | None) -> int | None:
    """The sequence with which a segment ended whose file may hold more, since writing to it failed.

    `following`: the one after it, which says so.
    """
    try:
        header = following.header() if following is not None else None
    except OSError:
        return None
    previous = header.previous if header is not None else None
    return previous.sequence if previous is not None and previous.abandoned else None


def counted(files: Sequence[SegmentFile], unreadable: Unreadable) -> Iterator[bytes]:
    """The complete lines of a writer's segments, in their order, without those that a failed write
    has left behind.
    """
    for each, following in zip_longest(files, files[1:]):
        yield from lines_of(each, following, unreadable)


def lines_of(
    segment: SegmentFile, following: SegmentFile | None, unreadable: Unreadable
) -> Iterator[bytes]:
    """The same for one segment; `following`: the one after it, if there is one."""
    try:
        lines = segment.data().split(b"\n")[:-1]
    except FileNotFoundError:
        # Retention has removed it since it was found.
        return
    except OSError as error:
        unreadable(segment, error)
        return
    end = abandoned_at(following)
    for line in lines:
        yield line
        said = stated(line)
        if end is not None and said is not None and said.sequence == end:
            break
