"""Standard error before a reader that is slow, gone, or never was."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.stderr import QueuedOutput

ROOT = Path(__file__).parents[2]
LIMIT = 200_000
PIPE = 64 << 10


class Pipe:
    """The queue in front of a pipe, and the pipe's other end."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self.output = QueuedOutput(self._writing, LIMIT)

    def write(self, number: int) -> bytes:
        line = f"{number:07}".encode() + b"x" * 192 + b"\n"
        self.output.write(line)
        return line

    def read(self, until: bytes) -> bytes:
        found = b""
        while until not in found:
            found += os.read(self.reading, 1 << 16)
        return found

    def close(self) -> None:
        """Nobody reads any more, and so the thread comes to its end before its descriptor is
        another's.
        """
        with contextlib.suppress(OSError):
            os.close(self.reading)
        self.output.end(20)
        os.close(self._writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    found.close()


def test_what_has_no_room_is_lost_and_counted_and_the_reader_is_told(pipe: Pipe) -> None:
    for number in range(5000):
        pipe.write(number)
    lost = pipe.output.lost
    assert 5000 - (LIMIT + 2 * PIPE) // 200 <= lost <= 5000 - LIMIT // 200
    # The queue is there again as soon as it is half empty.
    with capture_logs() as told:
        kept = pipe.read(f"{5000 - lost - 1:07}".encode()).splitlines()
        assert [int(line[:7]) for line in kept] == list(range(5000 - lost))
        while not told:
            time.sleep(0.01)
    assert [(line["event"], line["lines"]) for line in told] == [
        ("lines of this log were lost: they were not read in time", lost)
    ]
    pipe.write(9_999_999)
    assert pipe.read(b"9999999")
    assert pipe.output.lost == lost


def test_the_end_writes_what_the_reader_takes(pipe: Pipe) -> None:
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read(b"0000999")))
    reader.start()
    for number in range(1000):
        pipe.write(number)
    pipe.output.end(20)
    reader.join(20)
    assert len(found[0].splitlines()) == 1000 - pipe.output.lost == 1000


def test_the_end_does_not_wait_for_a_reader_that_never_reads(pipe: Pipe) -> None:
    for number in range(2000):
        pipe.write(number)
    ended = threading.Thread(target=pipe.output.end, args=(0.1,))
    ended.start()
    ended.join(20)
    assert not ended.is_alive()
    assert pipe.write(1), "what comes later is taken and lost"


def test_a_pipe_that_another_process_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.output.fileno(), False)
    for number in range(900):
        pipe.write(number)
    time.sleep(0.1)
    assert len(pipe.read(b"0000899").splitlines()) == 900
    assert pipe.output.lost == 0


def test_lines_for_a_reader_that_has_gone_are_counted(pipe: Pipe) -> None:
    os.close(pipe.reading)
    for number in range(10):
        pipe.write(number)
    while pipe.output.lost < 10:
        time.sleep(0.01)


def test_a_warning_from_a_collection_of_garbage_does_not_lock_it(pipe: Pipe) -> None:
    """It may come at any step of a write, also while that one holds the lock."""

    class Last:
        def __del__(self) -> None:
            pipe.write(7)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(300):
            last = Last()
            last.itself = last  # type: ignore[attr-defined]
            del last
            pipe.write(number)
    finally:
        gc.set_threshold(*before)
    assert pipe.output.lost == 0


PROGRAM = f"""
import logging, sys, threading, warnings
import click
from gateway import stderr

class Broken:
    def __del__(self): raise ValueError("in a finaliser")

def broken(): raise ValueError("in a thread")

stderr.install()
sys.stderr.write("x" * {2 * PIPE} + "\\n")
thread = threading.Thread(target=broken)
thread.start()
thread.join()
Broken()
warnings.warn("of a library")
logging.error("before anything is configured")
click.ClickException("of the command line").show()
raise ValueError("in the program")
"""
WRITTEN = (
    "in a thread",
    "in a finaliser",
    "of a library",
    "before anything is configured",
    "of the command line",
    "in the program",
)


def test_nothing_that_python_writes_waits_for_a_reader() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        assert process.wait(60) == 1


def test_all_that_python_writes_reaches_a_reader() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert [text for text in WRITTEN if f"{text}\n" in done.stderr] == [*WRITTEN]
