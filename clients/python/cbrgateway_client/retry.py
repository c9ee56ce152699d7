"""How to go on when a limit has refused a call; `blocking` and `aio` have the loops."""

import contextlib
import math
import time
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from numbers import Real
from typing import Final

import grpc

from cbrgateway_client.errors import CallError

_SHARED: Final = ContextVar("_SHARED", default="")


def new_request_id() -> str:
    """For a change that has none: that of the loop around it, or a new one."""
    return _SHARED.get() or uuid.uuid4().hex


@contextlib.contextmanager
def one_change() -> Iterator[None]:
    """All changes inside that have no request_id get the same one."""
    before = _SHARED.set(new_request_id())
    try:
        yield
    finally:
        _SHARED.reset(before)


def seconds(name: str, value: float) -> float:
    """The number, infinity for one that no clock can count to.

    Raises TypeError, and ValueError for what is no number: no time is later, so that nothing would
    end.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{name} takes a number of seconds, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    if math.isnan(number):
        raise ValueError(f"{name} is not a number of seconds")
    return number


def delay_s(refusal: CallError, end: float) -> float:
    """How long to wait for the next try.

    Raises the error if no limit has refused the call, or if the time, up to `end`, does not allow
    it.
    """
    delay_s = refusal.retry_delay_s
    if (
        refusal.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED
        or not delay_s
        or time.monotonic() + delay_s > end
    ):
        raise refusal
    return delay_s
