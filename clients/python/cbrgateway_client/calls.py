"""What is put around each call: the credential, a request_id for changes, and CallError for
failures.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc
from cbrgateway.v1 import errors_pb2  # noqa: F401 - it fills the pool of descriptors
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from cbrgateway_client.errors import CallError
from cbrgateway_client.retry import new_request_id, seconds

Metadata = tuple[tuple[str, str], ...]
Request = TypeVar("Request", bound=Message)
_FIELD: Final = "request_id"
_LONGEST_S: Final = 366 * 24 * 3600.0
"""A deadline further away than that is none: gRPC cannot count to it, nor to infinity."""


def identified(request: Request, method: str | bytes) -> Request:
    """The request of a change with a request_id, in a copy if it had none: the caller's message may
    serve for another change.

    gRPC repeats a call with the same bytes, so all its attempts have the same one.
    """
    if (
        _FIELD not in request.DESCRIPTOR.fields_by_name
        or getattr(request, _FIELD)
        or _is_read(method)
    ):
        return request
    filled = type(request)()
    filled.CopyFrom(request)
    setattr(filled, _FIELD, new_request_id())
    return filled


def _is_read(method: str | bytes) -> bool:
    """Whether `/package.Service/Method` changes nothing; there `request_id` is a filter."""
    path = method.decode() if isinstance(method, bytes) else method
    options = (
        descriptor_pool.Default()
        .FindMethodByName(path.removeprefix("/").replace("/", "."))
        .GetOptions()
    )
    return bool(options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS)


def _countable(timeout_s: float | None) -> float | None:
    """Raises TypeError, and ValueError for what is no number: gRPC would wait for ever, or not at
    all.
    """
    if timeout_s is None:
        return None
    given_s = seconds("timeout", timeout_s)
    return None if given_s > _LONGEST_S else max(given_s, 0.0)


class _Call:
    """The details of a call in the shape that both of gRPC's APIs read."""

    def __init__(self, details: Any, metadata: Metadata) -> None:  # noqa: ANN401 - each API has a type of its own
        self.method, self.timeout, self.credentials = (
            details.method,
            _countable(details.timeout),
            details.credentials,
        )
        self.wait_for_ready = details.wait_for_ready
        self.compression = getattr(details, "compression", None)
        self.metadata = (*(details.metadata or ()), *metadata)


class Blocking(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Around the calls of the blocking API.

    A future raises gRPC's own error: CallError.of unpacks it.
    """

    def __init__(self, metadata: Callable[[], Metadata], *, plaintext: bool) -> None:
        self._metadata, self._plaintext = metadata, plaintext

    def intercept_unary_unary(
        self,
        continuation: Any,  # noqa: ANN401 - any message
        client_call_details: Any,  # noqa: ANN401 - any message
        request: Any,  # noqa: ANN401 - any message or value
    ) -> Any:  # noqa: ANN401
        sent = identified(request, client_call_details.method)
        call = continuation(_Call(client_call_details, self._metadata()), sent)
        if call.done() and isinstance(error := call.exception(), grpc.RpcError):
            raise CallError.of(
                error, getattr(sent, _FIELD, ""), plaintext=self._plaintext
            ) from None
        return call

    def intercept_unary_stream(
        self,
        continuation: Any,  # noqa: ANN401 - any message
        client_call_details: Any,  # noqa: ANN401 - any message
        request: Any,  # noqa: ANN401 - any message or value
    ) -> Any:  # noqa: ANN401
        return continuation(_Call(client_call_details, self._metadata()), request)


class AioUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Around the unary calls of the asyncio API."""

    def __init__(self, metadata: Callable[[], Metadata], *, plaintext: bool) -> None:
        self._metadata, self._plaintext = metadata, plaintext

    async def intercept_unary_unary(
        self,
        continuation: Any,  # noqa: ANN401 - any message
        client_call_details: Any,  # noqa: ANN401 - any message
        request: Any,  # noqa: ANN401 - any message or value
    ) -> Any:  # noqa: ANN401
        sent = identified(request, client_call_details.method)
        call = await continuation(_Call(client_call_details, self._metadata()), sent)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise CallError.of(
                error, getattr(sent, _FIELD, ""), plaintext=self._plaintext
            ) from None
        return call


class AioStreams(grpc.aio.UnaryStreamClientInterceptor):
    """Around the streams of the asyncio API. gRPC takes an interceptor for one kind of call
    only.
    """

    def __init__(self, metadata: Callable[[], Metadata]) -> None:
        self._metadata = metadata

    async def intercept_unary_stream(
        self,
        continuation: Any,  # noqa: ANN401 - any message
        client_call_details: Any,  # noqa: ANN401 - any message
        request: Any,  # noqa: ANN401 - any message or value
    ) -> Any:  # noqa: ANN401
        return await continuation(_Call(client_call_details, self._metadata()), request)
