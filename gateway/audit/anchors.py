"""Anchors: the signed heads of chains, kept where who can change the log cannot.

Without them nobody sees that the end of a log was cut off.

Every anchor goes to the store that the gateway keeps its state in, which remembers the last one of
each writer; and to a file or the diagnostic log, which have all of them.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec
import structlog

from gateway.audit.chain import Head, Keys, ascii_json, decoded, signature
from gateway.audit.record import Anchor
from gateway.audit.worker import Worker
from gateway.background import on_loop
from gateway.regular_file import opened, reading
from gateway.state import KeyValue, StoreDown

_HANGS_S: Final = 30.0
_CLOSE_S: Final = 3.0
_STORE_S: Final = 10.0
_BLOCK: Final = 1 << 20
_LONGEST: Final = 1 << 16
"""No anchor has as many bytes, and of a longer line no more is kept."""
_anchor: Final = msgspec.json.Decoder(Anchor)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class AnchorPlace(Protocol):
    """Where anchors are kept."""

    def add(self, anchor: Anchor) -> None:
        """Returns once it is kept. Raises OSError."""
        ...


class AnchorFile(msgspec.Struct, frozen=True):
    """One JSON line for each anchor, oldest first; several writers may share it."""

    path: Path

    def add(self, anchor: Anchor) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(opened(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "ab+") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            # What a crash or a full disk has cut short must not take this one with it.
            file.write((b"" if file.read(1) in {b"", b"\n"} else b"\n") + line_of(anchor))
            file.flush()
            os.fdatasync(file.fileno())

    def read(self) -> list[Anchor]:
        """The anchors in it; other lines are passed over, so that a collected diagnostic log will
        do, also one from a pipe. Raises OSError, FileNotFoundError excepted.
        """
        try:
            with self.path.open("rb") as file:
                return list(anchors_in(iter(partial(file.readline, _LONGEST), b"")))
        except FileNotFoundError:
            return []

    def last(self, keys: Keys, writers: Iterable[str]) -> list[Anchor]:
        """The last genuine one of each of the writers.

        Read from its end, as it grows for years. Raises OSError, FileNotFoundError excepted, also
        for what `add` cannot add to.
        """
        wanted, found = set(writers), []
        try:
            with reading(self.path) as file:
                for anchor in anchors_in(backwards(file)):
                    if anchor.writer in wanted and genuine(keys, anchor):
                        wanted.remove(anchor.writer)
                        found.append(anchor)
                    if not wanted:
                        break
        except FileNotFoundError:
            return []
        return found


class AnchorLog:
    """The diagnostic log: where that is collected elsewhere, it is the other place."""

    def add(self, anchor: Anchor) -> None:
        log.info("audit anchor", **msgspec.to_builtins(anchor))


class AnchorStore:
    """The gateway's store, which remembers the last one of each writer."""

    def __init__(self, stored: KeyValue) -> None:
        self._stored = stored
        self._loop = asyncio.get_running_loop()

    def add(self, anchor: Anchor) -> None:
        """Called in another thread than that of the event loop."""
        try:
            on_loop(self._loop, self._stored.put(anchor.writer, line_of(anchor)), _STORE_S)
        except (StoreDown, TimeoutError) as down:
            raise OSError(f"the store: {down}") from down

    async def last(self, keys: Keys) -> list[Anchor]:
        """Those that are genuine. Raises StoreDown."""
        return [
            anchor
            for anchor in anchors_in((await self._stored.all()).values())
            if genuine(keys, anchor)
        ]


def backwards(file: BinaryIO, block: int = _BLOCK, longest: int = _LONGEST) -> Iterator[bytes]:
    """The lines of a file, the last one first, without those that are longer than an anchor; in as
    much memory as a block takes.
    """
    at, rest, cut = file.seek(0, os.SEEK_END), b"", False
    while at:
        size = min(block, at)
        at = file.seek(at - size)
        first, *lines = (file.read(size) + rest).split(b"\n")
        if cut and lines:
            # The head of a line of which the rest was dropped.
            lines.pop()
            cut = False
        yield from reversed(lines)
        cut = cut or len(first) > longest
        rest = b"" if cut else first
    if not cut:
        yield rest


def line_of(anchor: Anchor) -> bytes:
    return ascii_json(anchor) + b"\n"


def anchors_in(lines: Iterable[bytes]) -> Iterator[Anchor]:
    """Lines that are no anchors are passed over: cut short by a crash, or of somebody else.

    The others still hold.
    """
    for line in lines:
        try:
            yield decoded(_anchor, line)
        except msgspec.MsgspecError:
            continue


def signed(keys: Keys, writer: str, segment: int, head: Head) -> Anchor:
    """The anchor of a head, as of now."""
    mac, now = head.mac.hex(), round(time.time() * 1000)
    return Anchor(
        writer=writer,
        segment=segment,
        sequence=head.sequence,
        mac=mac,
        time=now,
        signature=signature(keys.anchors, writer, segment, head),
    )


def genuine(keys: Keys, anchor: Anchor) -> bool:
    """Whether it was signed with this key."""
    head = Head(anchor.sequence, bytes.fromhex(anchor.mac))
    return hmac.compare_digest(
        signature(keys.anchors, anchor.writer, anchor.segment, head).encode(),
        anchor.signature.encode(),
    )


def last_of(anchors: Iterable[Anchor], writer: str) -> Anchor | None:
    return max(
        (anchor for anchor in anchors if anchor.writer == writer),
        key=lambda anchor: anchor.sequence,
        default=None,
    )


class Anchors:
    """A place that hangs delays no record and no other thread.

    Where anchors come too fast for it, only the newest is kept.
    """

    def __init__(self, places: Sequence[AnchorPlace]) -> None:
        self._places = places
        self._waiting: Anchor | None = None
        self._trouble: dict[int, str] = {}
        self._worker = Worker("audit-anchors", self._run, close_s=_CLOSE_S)

    def start(self) -> None:
        self._worker.start()

    def put(self, anchor: Anchor) -> None:
        """Never waits."""
        if self._worker.busy_s > _HANGS_S:
            self._judge(-1, f"a place has not answered for {_HANGS_S:.0f} s")
        with self._worker.bell:
            self._waiting = anchor
            self._worker.bell.notify()

    def close(self) -> None:
        """Takes the last one to its places, if they answer soon."""
        self._worker.close()

    def _run(self) -> None:
        worker = self._worker
        while True:
            with worker.bell:
                worker.bell.wait_for(lambda: worker.closing or self._waiting is not None)
                anchor, self._waiting = self._waiting, None
            if anchor is None:
                return
            for number, place in enumerate(self._places):
                problem = worker.tried(
                    partial(place.add, anchor), "keeping an anchor failed inside"
                )
                self._judge(number, problem)
            self._judge(-1, "")

    def _judge(self, place: int, problem: str) -> None:
        if problem and problem != self._trouble.get(place):
            log.error("the audit log's anchors cannot be kept", cause=problem)
        self._trouble[place] = problem
