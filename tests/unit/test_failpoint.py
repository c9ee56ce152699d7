"""What failpoints do, and that a misspelt one is refused: a test that waits for it would pass for
nothing.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import failpoint
from gateway.config import read_layers

ROOT = Path(__file__).parents[2]


def reached(place: str, order: str, first: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{first}from gateway import failpoint; failpoint.reach({place!r}); print('went on')"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), failpoint.VARIABLE: order}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_goes_on_at_places_that_nobody_ordered():
    assert reached("after_begin", "after_sent=kill,before_sent=raise").stdout == "went on\n"


def test_kill_is_the_end():
    ended = reached("after_sent", "before_sent=raise,after_sent=kill")
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


def test_raise_raises():
    assert (
        "RuntimeError: the failpoint after_sent was reached"
        in reached("after_sent", "after_sent=raise").stderr
    )


def test_sleep_takes_longer_than_a_store_is_waited_for():
    ended = reached("in_commit", "in_commit=sleep", "import time; time.sleep = print; ")
    slept_s, went_on = ended.stdout.splitlines()
    assert float(slept_s) >= 1
    assert went_on == "went on"


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (
            "after_bgin=kill",
            "names no failpoint: after_bgin. There are: after_slots, before_begin, after_begin,",
        ),
        ("after_begin=kill,x=kill", "names no failpoint: x."),
        ("after_begin", "has no action for after_begin that exists. There are: kill, sleep, raise"),
        ("after_begin=stop", "has no action for after_begin"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(order, text):
    (problem,) = read_layers(None, {failpoint.VARIABLE: order}, {}).problems
    assert str(problem).startswith(f"environment variable CBR_GATEWAY_FAILPOINT: {text}")


def test_what_exists_is_no_problem():
    assert (
        read_layers(None, {failpoint.VARIABLE: "after_begin=kill,in_commit=sleep"}, {}).problems
        == []
    )
