"""Anchors: the signed heads of chains, kept where who can change the log cannot. Without them nobody sees that the end of a log was cut off."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from gateway.audit.chain import Head, Keys, signature
from gateway.audit.record import Anchor, ascii_json

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AnchorFile:
    """One JSON line for each anchor, oldest first; several writers may share it."""

    path: Path

    def add(self, anchor: Anchor) -> None:
        """Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, ascii_json(anchor) + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[Anchor]:
        """The anchors in it; other lines are passed over, so that a collected diagnostic log will do. Raises OSError, FileNotFoundError excepted."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        return list(_anchors(data.splitlines()))


def _anchors(lines: Iterable[bytes]) -> Iterable[Anchor]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=Anchor)
        except msgspec.MsgspecError:
            # Cut short by a crash, or none at all: one anchor less, the others still hold.
            continue


def signed(keys: Keys, writer: str, segment: int, head: Head) -> Anchor:
    """The anchor of a head, as of now."""
    mac, now = head.mac.hex(), round(time.time() * 1000)
    return Anchor(writer=writer, segment=segment, sequence=head.sequence, mac=mac, time=now, signature=signature(keys.anchors, writer, segment, head))


def last_of(anchors: Iterable[Anchor], writer: str) -> Anchor | None:
    return max((anchor for anchor in anchors if anchor.writer == writer), key=lambda anchor: anchor.sequence, default=None)


def log_anchor(anchor: Anchor) -> None:
    """Into the diagnostic log: where that is collected elsewhere, it is the other place."""
    log.info("audit anchor", **msgspec.to_builtins(anchor))
