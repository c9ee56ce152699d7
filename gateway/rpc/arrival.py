"""The request message of a call, which is read once its caller is known.

To gRPC all our RPCs take a stream of requests, of which one is read; on the wire that is the same.
A handler of a single request would be called only when all of its bytes are there, and they would
be kept for as long as they take, for callers whom nobody knows, too.
"""

import asyncio
from typing import Any

from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError, field_invalid
from gateway.rpc.context import Context


class Arrivals:
    """Reads requests, each of which has `within_s` to arrive, and has at most `most` bytes, unless
    its RPC takes more. One timer serves all that are waited for: whose wait began first is late
    first.
    """

    def __init__(self, within_s: float, most: int) -> None:
        self.within_s = within_s
        self._most = most
        self._late_at: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def most(self, of_rpc: int) -> int:
        """How many bytes a request has at most, whose RPC declares `of_rpc`."""
        return max(of_rpc, self._most)

    async def read(self, context: Context, most: int = 0) -> bytes:
        """The bytes of the message. Raises CALLER_TOO_SLOW, and FIELD_INVALID where there are none
        or too many. `most`: what its RPC takes, where that is more than others do.
        """
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        cancels = task.cancelling()
        self._late_at[task] = loop.time() + self.within_s
        if self._timer is None:
            self._timer = loop.call_later(self.within_s, self._ring)
        try:
            data = await context.read()
        except asyncio.CancelledError:
            if task not in self._late_at and task.uncancel() <= cancels:
                raise too_slow(self.within_s) from None
            raise
        finally:
            self._late_at.pop(task, None)
        if not isinstance(data, bytes):
            raise field_invalid(
                "", "the call ended before its request; send one message", "encoding"
            )
        most = self.most(most)
        if len(data) > most:
            raise too_large(most, len(data))
        return data

    def _ring(self) -> None:
        self._timer, loop = None, asyncio.get_running_loop()
        while self._late_at:
            task, late_at = next(iter(self._late_at.items()))
            if late_at > loop.time():
                self._timer = loop.call_at(late_at, self._ring)
                return
            del self._late_at[task]
            task.cancel()


def too_slow(within_s: float) -> GatewayError:
    text = f"The request did not arrive within {within_s:g} s. Call again."
    return GatewayError(errors_pb2.ERROR_REASON_CALLER_TOO_SLOW, text)


def too_large(most: int, size: int | None = None) -> GatewayError:
    """`size`: None where the rest was not read."""
    has = f"more than {most} bytes" if size is None else f"{size} bytes, of at most {most}"
    return field_invalid("", f"the request has {has}; send less in one call", "max_bytes")
