"""Anchors: the signed heads of chains, kept where who can change the log cannot. Without them nobody sees that the end of a log was cut off.

Every anchor goes to the store that the gateway keeps its state in, which remembers the last one of each writer; and to a file or the diagnostic log,
which have all of them.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from gateway.audit.chain import Head, Keys, signature
from gateway.audit.record import Anchor, ascii_json
from gateway.state import Store, StoreDown

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class AnchorPlace(Protocol):
    """Where anchors are kept."""

    def add(self, anchor: Anchor) -> None:
        """Called by the log's own thread. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class AnchorFile:
    """One JSON line for each anchor, oldest first; several writers may share it."""

    path: Path

    def add(self, anchor: Anchor) -> None:
        """Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line_of(anchor))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[Anchor]:
        """The anchors in it; other lines are passed over, so that a collected diagnostic log will do. Raises OSError, FileNotFoundError excepted."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return anchors_in(data.splitlines())


class AnchorLog:
    """The diagnostic log: where that is collected elsewhere, it is the other place."""

    def add(self, anchor: Anchor) -> None:
        log.info("audit anchor", **msgspec.to_builtins(anchor))


class AnchorStore:
    """The gateway's store. The log's thread does not wait for it: an anchor that is late is worth less than a change that waits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._latest: dict[str, Anchor] = {}
        self._putting: asyncio.Task[None] | None = None

    def add(self, anchor: Anchor) -> None:
        self._loop.call_soon_threadsafe(self._put, anchor)

    async def read(self) -> list[Anchor]:
        """The last one of each writer. Raises StoreDown."""
        return anchors_in((await self._store.anchors()).values())

    async def aclose(self) -> None:
        """Waits for what is on its way."""
        if self._putting is not None:
            await self._putting

    def _put(self, anchor: Anchor) -> None:
        self._latest[anchor.writer] = anchor
        if self._putting is None or self._putting.done():
            self._putting = asyncio.create_task(self._put_latest())

    async def _put_latest(self) -> None:
        while self._latest:
            writer, anchor = self._latest.popitem()
            try:
                await self._store.put_anchor(writer, line_of(anchor))
            except StoreDown as down:
                log.warning("the audit log's anchor cannot be kept in the store; the next one will be tried", cause=str(down))


def line_of(anchor: Anchor) -> bytes:
    return ascii_json(anchor) + b"\n"


def anchors_in(lines: Iterable[bytes]) -> list[Anchor]:
    """Lines that are no anchors are passed over: cut short by a crash, or of somebody else. The others still hold."""
    found = []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Anchor))
        except msgspec.MsgspecError:
            continue
    return found


def signed(keys: Keys, writer: str, segment: int, head: Head) -> Anchor:
    """The anchor of a head, as of now."""
    mac, now = head.mac.hex(), round(time.time() * 1000)
    return Anchor(writer=writer, segment=segment, sequence=head.sequence, mac=mac, time=now, signature=signature(keys.anchors, writer, segment, head))


def genuine(keys: Keys, anchor: Anchor) -> bool:
    """Whether it was signed with this key."""
    head = Head(anchor.sequence, bytes.fromhex(anchor.mac))
    return hmac.compare_digest(signature(keys.anchors, anchor.writer, anchor.segment, head), anchor.signature)


def last_of(anchors: Iterable[Anchor], writer: str) -> Anchor | None:
    return max((anchor for anchor in anchors if anchor.writer == writer), key=lambda anchor: anchor.sequence, default=None)
