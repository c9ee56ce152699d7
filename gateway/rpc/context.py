"""A call as its transport has it: what the way of a call needs of whoever brings it.

These are the methods of gRPC's own context that are used, so gRPC's calls take their way without
anything around them; the calls that come over HTTP have a context in `gateway.http`.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Protocol

import grpc

Metadata = Sequence[tuple[str, str | bytes]]


class Context(Protocol):
    """One call. What it may raise beside cancellation, `abort` says."""

    def peer(self) -> str:
        """The other end of the connection, as `ipv4:10.0.0.1:4711`."""
        ...

    def invocation_metadata(self) -> Metadata | None: ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS knows of the caller."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where it set none."""
        ...

    def read(self) -> Awaitable[object]:
        """The bytes of the next message of the request; anything else: there is none."""
        ...

    def write(self, message: bytes) -> Awaitable[None]:
        """Sends one message of a stream; waits while the caller does not read."""
        ...

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None: ...

    def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: Metadata
    ) -> Awaitable[object]:
        """Ends the call with an error. Raises grpc.aio.AbortError, or grpc.aio.InternalError where
        the caller has left.
        """
        ...
