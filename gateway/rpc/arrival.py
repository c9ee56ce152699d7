"""The request message of a call, which is read once its caller is known.

To gRPC all our RPCs take a stream of requests, of which one is read; on the wire that is the same.
A handler of a single request would be called only when all of its bytes are there, and they would
be kept for as long as they take, for callers whom nobody knows, too.
"""

from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError, field_invalid
from gateway.rpc.context import Context
from gateway.time_limit import TimeLimit


class Arrivals:
    """Reads requests, each of which has so much time to arrive, and has at most `most` bytes,
    unless its RPC takes more.
    """

    def __init__(self, within: TimeLimit, most: int) -> None:
        self.within = within
        self._most = most

    def most(self, of_rpc: int) -> int:
        """How many bytes a request has at most, whose RPC declares `of_rpc`."""
        return max(of_rpc, self._most)

    async def read(self, context: Context, most: int = 0) -> bytes:
        """The bytes of the message. Raises CALLER_TOO_SLOW, and FIELD_INVALID where there are none
        or too many. `most`: what its RPC takes, where that is more than others do.
        """
        try:
            with self.within:
                data = await context.read()
        except TimeoutError:
            raise too_slow(self.within.within_s) from None
        if not isinstance(data, bytes):
            raise field_invalid(
                "", "the call ended before its request; send one message", "encoding"
            )
        most = max(most, self._most)
        if len(data) > most:
            raise too_large(most, len(data))
        return data


def too_slow(within_s: float) -> GatewayError:
    text = f"The request did not arrive within {within_s:g} s. Call again."
    return GatewayError(errors_pb2.ERROR_REASON_CALLER_TOO_SLOW, text)


def too_large(most: int, size: int | None = None) -> GatewayError:
    """`size`: None where the rest was not read."""
    has = f"more than {most} bytes" if size is None else f"{size} bytes, of at most {most}"
    return field_invalid("", f"the request has {has}; send less in one call", "max_bytes")
