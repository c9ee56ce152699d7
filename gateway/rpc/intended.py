"""A change of the gateway's own state that was found to be in order, and is not made yet."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cbrgateway.v1 import types_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.limits import refusals
from gateway.state import StoreDown


class Intended(Struct, frozen=True):
    """`response`: once `change` has made it. `warnings`: what else there is to know, in
    sentences.
    """

    response: Any
    change: Callable[[], Awaitable[object]]
    warnings: Sequence[str] = ()

    async def act(self) -> None:
        """Makes it. Raises GatewayError."""
        try:
            await self.change()
        except StoreDown:
            raise refusals.store_down(
                "The store of quotas and request_ids does not answer."
            ) from None

    def told(self) -> Message:
        """The response where it is only validated."""
        validation = types_pb2.ValidationResult(warnings=self.warnings)
        told: Message = type(self.response)(validation=validation)
        return told
