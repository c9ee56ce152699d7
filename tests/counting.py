"""What a piece of work costs, in steps of the interpreter: the same on every machine, and however
busy it is. Tests compare these, never times.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Steps:
    """Lines of Python that ran, and calls of functions that are not Python."""

    number: int = 0


@contextlib.contextmanager
def counted_steps() -> Iterator[Steps]:
    """Counts those of this thread meanwhile, in what is called from here on."""
    steps = Steps()

    def trace(frame: Any, event: str, argument: Any) -> Any:
        steps.number += event == "line"
        return trace

    def profile(frame: Any, event: str, argument: Any) -> None:
        steps.number += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        yield steps
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
