"""Anchors: the signed heads of chains, kept where who can change the log cannot. Without them nobody sees that the end of a log was cut off."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

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
        """What can be read of them. Raises OSError, FileNotFoundError excepted."""
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
            # Cut short by a crash, or damaged: one anchor less, the others still hold.
            log.warning("a line of the anchor file is no anchor")


def last_of(anchors: Iterable[Anchor], writer: str) -> Anchor | None:
    return max((anchor for anchor in anchors if anchor.writer == writer), key=lambda anchor: anchor.sequence, default=None)


def log_anchor(anchor: Anchor) -> None:
    """Into the diagnostic log: where that is collected elsewhere, it is the other place."""
    log.info("audit anchor", **msgspec.to_builtins(anchor))
