"""RPCs of the gateway itself, carried out for somebody who looks at the console: on the way that
every call takes, so that identity, limits and the audit log are those of any other call.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from gateway.background import on_loop
from gateway.console.admission import Visitor
from gateway.rpc.context import Metadata
from gateway.rpc.dispatch import Routes

_WITHIN_S: Final = 10.0
_SLACK_S: Final = 2.0
Answer = TypeVar("Answer", bound=Message)


class CallFailed(Exception):  # noqa: N818 - says what is the case
    """An RPC that has ended with an error. `code`: its gRPC code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class _Context:
    """One call, as its way asks for it (gateway.rpc.context)."""

    visitor: Visitor
    request: Message
    until: float
    failed: CallFailed | None = field(default=None)

    def peer(self) -> str:
        return self.visitor.peer

    def invocation_metadata(self) -> Metadata:
        return self.visitor.metadata

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}

    def time_remaining(self) -> float:
        return max(0.0, self.until - asyncio.get_running_loop().time())

    async def read(self) -> bytes:
        return self.request.SerializeToString()

    async def write(self, _message: bytes) -> None:
        raise AssertionError("the console opens no streams")

    def set_trailing_metadata(self, _trailing_metadata: Metadata) -> None:
        """Nobody reads it."""

    async def abort(
        self, code: grpc.StatusCode, details: str, _trailing_metadata: Metadata = ()
    ) -> Any:  # noqa: ANN401 - it never returns
        self.failed = CallFailed(code.name, details)
        raise grpc.aio.AbortError


@dataclass(frozen=True, slots=True)
class Calls:
    """`loop`: the gateway's own, on which calls are carried out; they are asked for in threads."""

    routes: Routes
    loop: asyncio.AbstractEventLoop

    def call(self, request: Message, answer: type[Answer], visitor: Visitor) -> Answer:
        """What the RPC of the request answers. Raises CallFailed."""
        called = self._call(request, visitor)
        try:
            return answer.FromString(on_loop(self.loop, called, _WITHIN_S + _SLACK_S))
        except TimeoutError:
            raise CallFailed("DEADLINE_EXCEEDED", "The gateway is busy; reload the page.") from None

    async def _call(self, request: Message, visitor: Visitor) -> bytes:
        until = asyncio.get_running_loop().time() + _WITHIN_S
        context = _Context(visitor, request, until)
        rpc = self.routes.asked_by(request)
        try:
            data = await rpc.serve(None, context)
        except grpc.aio.AbortError:
            assert context.failed is not None
            raise context.failed from None
        assert data is not None
        return data
