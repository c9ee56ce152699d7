"""Logs made without a gateway: a real directory, real files, and a disk that a test can break."""

import errno
import gzip
import math
import threading
import time
from pathlib import Path

from gateway.audit import events
from gateway.audit.chain import Keys
from gateway.audit.events import own_record
from gateway.audit.intents import Entry
from gateway.audit.record import OpenIntent
from gateway.audit.recovery import position
from gateway.audit.segments import Disk
from gateway.audit.sinks import FileSink

KEYS = Keys.of("a-key-for-tests-with-enough-characters")
WRITER = "here"


async def right():
    """Other clocks that say the same."""
    return [time.time()]


def entry(number=0, *, opens="", closes=""):
    event = (
        events.CHANGE_INTENDED if opens else events.CHANGE_SETTLED if closes else events.READ_ENDED
    )
    change_result = {"change_result": "DONE"} if closes else {}
    body = own_record(
        event,
        **change_result,
        subject=opens or closes or f"call-{number}",
        tenant="payments",
        operation="VaultService/GetVault",
    )
    intent = (
        OpenIntent(uid=opens, operation="VaultService/GetVault", tenant="payments")
        if opens
        else None
    )
    return Entry(body, intent, (closes, "DONE") if closes else None)


def sink(directory: Path, *, opener=Disk, anchored=None, writer=WRITER, **limits):
    found = position(directory, writer, KEYS, anchored)
    kept = {"max_bytes": 1 << 20, "max_age_s": 3600.0} | limits
    return FileSink(
        directory,
        writer,
        KEYS,
        **kept,
        opener=opener,
        head=found.head,
        number=found.number,
        open=found.open,
    )


class Broken:
    """What the disk does wrong from now on, `faults` times; shared by all files that it opens."""

    def __init__(self, fault=""):
        self.fault = fault
        self.faults = math.inf
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.synced = 0

    def opener(self, path, *, new):
        if self.fault == "open":
            raise OSError(errno.EROFS, "Read-only file system")
        return _Disk(path, new=new, state=self)


class _Disk(Disk):
    def __init__(self, path, *, new, state):
        super().__init__(path, new=new)
        self._state = state

    def write(self, data):
        self._state.goes_on.wait(100)
        match self._state.fault:
            case "full":
                super().write(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            case "short":
                super().write(data[: len(data) // 2])
                raise OSError(f"only {len(data) // 2} of {len(data)} bytes were written")
            case "write":
                raise OSError(errno.EIO, "Input/output error")
        super().write(data)

    def sync(self):
        if self._state.fault == "sync" and self._state.faults > 0:
            self._state.faults -= 1
            raise OSError(errno.EIO, "Input/output error")
        super().sync()
        self._state.synced += 1

    def cut(self, size):
        if self._state.fault in {"full", "write", "sync"}:
            raise OSError(errno.EIO, "Input/output error")
        super().cut(size)


def pack(path: Path, *, cut=0):
    """Packs a segment as retention does, and spoils its end by so many bytes."""
    whole = gzip.compress(path.read_bytes())
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(whole[: len(whole) - cut])
    path.unlink()
    return packed
