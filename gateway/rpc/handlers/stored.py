"""What all handlers share that read the store themselves."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from gateway.limits import refusals
from gateway.rpc.call import Call
from gateway.state import StoreDown

Answer = TypeVar("Answer")


def guarded(
    handler: Callable[[Call, Message], Awaitable[Answer]],
) -> Callable[[Call, Message], Awaitable[Answer]]:
    """A store that is down becomes QUOTA_STORE_DOWN."""

    async def serve(call: Call, request: Message) -> Answer:
        try:
            return await handler(call, request)
        except StoreDown:
            raise refusals.store_down(
                "The store of quotas and request_ids does not answer."
            ) from None

    return serve
