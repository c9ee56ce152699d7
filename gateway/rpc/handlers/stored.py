"""What all handlers share that read the store themselves."""

from google.protobuf.message import Message

from gateway.limits import refusals
from gateway.rpc.call import Call, Handler
from gateway.state import StoreDown


def guarded(handler: Handler) -> Handler:
    """A store that is down becomes QUOTA_STORE_DOWN."""

    async def serve(call: Call, request: Message) -> Message:
        try:
            return await handler(call, request)
        except StoreDown:
            raise refusals.store_down(
                "The store of quotas and request_ids does not answer."
            ) from None

    return serve
