"""The request message of a call, which is read once its caller is known.

To gRPC all our RPCs take a stream of requests, of which one is read; on the wire that is the same.
A handler of a single request would be called only when all of its bytes are there, and they would
be kept for as long as they take, for callers whom nobody knows, too.
"""

import asyncio
from typing import Any

import grpc
from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError, field_invalid


async def arrived(context: grpc.aio.ServicerContext[Any, Any], within_s: float) -> bytes:
    """The bytes of the message. Raises CALLER_TOO_SLOW, and FIELD_INVALID where there are none."""
    try:
        async with asyncio.timeout(within_s):
            data: bytes | object = await context.read()
    except TimeoutError:
        text = f"The request did not arrive within {within_s:g} s. Call again."
        raise GatewayError(errors_pb2.ERROR_REASON_CALLER_TOO_SLOW, text) from None
    if not isinstance(data, bytes):
        raise field_invalid("", "the call ended before its request; send one message", "encoding")
    return data
