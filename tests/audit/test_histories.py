"""Random histories of two writers that share a directory: calls of the system fail or are the last
ones of a process, at any place.

After each life the log is good, nothing that was told durable is missing but what retention has
removed, and the next life can begin.
"""

import contextlib
import errno
import os
import random
import threading
import time
from pathlib import Path

import pytest

from gateway.audit import events, retention, segments
from gateway.audit.chain import stated
from gateway.audit.events import own_record
from gateway.audit.export import Backlog
from gateway.audit.intents import Entry
from gateway.audit.lock import locked
from gateway.audit.recovery import position, stale_writer
from gateway.audit.retention import Retention
from gateway.audit.segments import counted, raised
from gateway.audit.sinks import FileSink
from gateway.audit.verify import verify
from tests.audit.logs import KEYS, WRITER, entry, sink

HISTORIES = int(os.environ.get("AUDIT_SOAK", "0")) * 100 or 40
LIVES = 5
CALLS = ("open", "write", "fdatasync", "fsync", "ftruncate")


class Died(BaseException):
    """The process was killed: nothing of it runs any more, not even what cleans up."""


class System:
    """The system's calls, which may fail from now on, and of which only `left` are made any
    more.
    """

    def __init__(self, rnd):
        self._rnd = rnd
        self.left = None
        self.fails = 0.0

    def __getattr__(self, name):
        real = getattr(os, name)
        return self._wrapped(real, in_part=name == "write") if name in CALLS else real

    def allow(self, *, left=None, fails=0.0):
        self.left, self.fails = left, fails

    def _wrapped(self, real, *, in_part=False):
        def call(*arguments, **more):
            try:
                self.tick()
            except (Died, OSError):
                if in_part and self.left != -1:
                    real(arguments[0], arguments[1][: self._rnd.randrange(len(arguments[1]) + 1)])
                raise
            finally:
                if self.left == 0:
                    self.left = -1
            return real(*arguments, **more)

        return call

    def tick(self):
        if self.left is not None:
            if self.left <= 0:
                raise Died
            self.left -= 1
            if self.left == 0:
                raise Died
        if self._rnd.random() < self.fails:
            raise OSError(errno.EIO, "Input/output error")


@pytest.fixture
def system(monkeypatch):
    rnd = random.Random()
    made = System(rnd)
    for module in (retention, segments):
        monkeypatch.setattr(module, "os", made)
    for name in ("rename", "unlink"):
        real = getattr(Path, name)

        def call(path, *arguments, _real=real, **more):
            made.tick()
            return _real(path, *arguments, **more)

        monkeypatch.setattr(Path, name, call)
    return made, rnd


def removing(folder, me, log):
    """How retention has removals recorded."""

    def recorded(name, removed):
        record = Entry(own_record(events.SEGMENTS_REMOVED, removed=removed))
        if name != me:
            with stale_writer(folder, name, KEYS, ()) as gone:
                gone.append([record])
            return True
        try:
            log.append([record])
        except OSError:
            return False
        return True

    return recorded


def live(folder, system, rnd, durable):
    """One life of one of two writers: takes its log up, ends what the other has left, writes,
    packs, removes, and ends as chance will have it.
    """
    me = rnd.choice("ab")
    removes = rnd.random() < 0.3
    with locked(folder, me):
        system.allow(left=rnd.randrange(3, 120) if rnd.random() < 0.7 else None)
        found = position(folder, me, KEYS, None)
        limits = {"max_bytes": rnd.choice([1, 3000, 10**6]), "max_age_s": 999}
        log = FileSink(
            folder, me, KEYS, **limits, head=found.head, number=found.number, open=found.open
        )
        keeper = Retention(
            folder,
            me,
            KEYS,
            rnd.random() < 0.5,
            1e-9 if removes else None,
            removing(folder, me, log),
            lambda: [time.time()],
        )
        closed = []
        log.on_closed = closed.append
        with contextlib.suppress(OSError):
            keeper.pack_all()
        for other in set(segments.segments(folder)) - {me}:
            with contextlib.suppress(OSError), stale_writer(folder, other, KEYS, ()) as gone:
                if dangling := gone.open.dangling:
                    told = own_record(
                        events.CHANGE_UNRESOLVED, subject=dangling[0].uid, change_result="UNKNOWN"
                    )
                    gone.append([Entry(told, ends=(dangling[0].uid, "UNKNOWN"))])
        for number in range(rnd.randrange(1, 15)):
            system.fails = rnd.choice([0, 0, 0, 0.3])
            with contextlib.suppress(OSError):
                log.append(
                    [entry(opens=f"{rnd.random()}")]
                    if rnd.random() < 0.5
                    else [entry(number), entry(number)]
                )
                durable[me].add(log.head.sequence)
            with contextlib.suppress(OSError):
                if rnd.random() < 0.2:
                    log.checkpoint()
            while closed:
                with contextlib.suppress(OSError):
                    keeper.pack(closed.pop(0))
            if removes and rnd.random() < 0.3:
                durable.clear()
                durable.update(a=set(), b=set())
                keeper.remove_old()
        system.fails = 0.0
        if rnd.random() < 0.5:
            log.close()


@pytest.mark.timeout(300 + 5 * HISTORIES)
def test_whatever_fails_and_whenever_a_process_dies_the_log_is_good_and_whole(tmp_path, system):
    calls, rnd = system
    first = random.randrange(1 << 32)
    for seed in range(first, first + HISTORIES):
        rnd.seed(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        durable = {"a": set(), "b": set()}
        for _ in range(LIVES):
            with contextlib.suppress(Died):
                live(folder, calls, rnd, durable)
            calls.allow()
            for writer in segments.segments(folder):
                position(folder, writer, KEYS, None)
            assert [str(each.bad) for each in verify(folder, KEYS) if each.bad] == [], seed
            for writer, told in durable.items():
                kept = {
                    stated(line).sequence
                    for line in counted(segments.segments(folder).get(writer, []), raised)
                }
                assert told <= kept, (seed, writer, sorted(told - kept))


def test_a_collector_gets_every_record_of_a_log_that_turns_over_all_the_time(tmp_path):
    log = sink(tmp_path, max_bytes=3000)
    left = Backlog(tmp_path, WRITER, lambda: log.head.sequence)
    ends = time.monotonic() + (10 if HISTORIES > 40 else 1)

    def write():
        while time.monotonic() < ends:
            log.append([entry(1), entry(2)])

    writing = threading.Thread(target=write)
    writing.start()
    got = []
    while writing.is_alive():
        got += left.take()
    while batch := left.take():
        got += batch
    assert [stated(line).sequence for line in got] == list(range(1, log.head.sequence + 1))
