"""What the spans of one process share: who makes them, and the one under way."""

import random
from contextvars import ContextVar
from typing import Final

from msgspec import Struct
from opentelemetry.trace import INVALID_SPAN, Span, Tracer

from gateway.rpc.dispatch import PACKAGE

NOT_RECORDED: Final = INVALID_SPAN
CURRENT: Final[ContextVar[Span | None]] = ContextVar("span", default=None)
"""The span of the call under way; NOT_RECORDED: it has none; None: there is no call.

A change goes on in it after its caller has gone. What polls has a context of its own, so that its
requests belong to no call.
"""


class Spans(Struct, frozen=True):
    """`follows_callers`: whether a call is recorded is the caller's choice, if it has a trace.

    What is not recorded must cost next to nothing, so that is decided before the library is asked.
    """

    tracer: Tracer
    follows_callers: bool
    ratio: float

    def begins(self) -> bool:
        """Whether a trace that begins here is recorded, or the library is to decide that."""
        # No secret.
        return not self.follows_callers or random.random() < self.ratio  # noqa: S311


def full_name(rpc: str) -> str:
    """As gRPC and OpenTelemetry write an RPC: `cbrgateway.v1.VaultService/GetVault`."""
    return f"{PACKAGE}.{rpc}"
