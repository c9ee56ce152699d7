"""What a process does that is told to end at a moment no test can hit by chance."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal
from gateway.signals import Signals

class Last:
    # Goes when the interpreter has taken its own handlers away.
    def __del__(self, kill=os.kill, itself=os.getpid(), number={number}):
        kill(itself, number)

last = Last()
installed = Signals().installed()
installed.__enter__()
# Its body has not begun, and so nothing will leave it.
os.kill(os.getpid(), {number})
raise AssertionError("it goes on")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_asked_for_before_the_first_step_is_clean_to_the_last(
    number: signal.Signals,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(number=int(number))],
        cwd=ROOT,
        check=False,
        timeout=60,
        capture_output=True,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


LOST = """
import asyncio, os, signal
from gateway.signals import Signals

class Caller:
    # What is raised here gets no further.
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

signals = Signals()
with signals.installed():
    caller = Caller()
    del caller
    loop, ends = asyncio.new_event_loop(), []
    with signals.heard_on(loop, lambda: ends.append(1), lambda: None):
        assert ends == [1]
"""


def test_an_end_that_is_asked_for_where_no_exception_gets_through_is_heard_later() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOST], cwd=ROOT, check=False, timeout=60, capture_output=True
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
