"""Cross-origin resource sharing: which pages of other origins may call, by what the operator lists.

Calls are known by the header `authorization`, which no browser sends by itself; so there are no
cookies, and no credentials in the sense of CORS.
"""

from collections.abc import Sequence
from typing import Final

from gateway.http.settings import EVERY_ORIGIN

_ALLOWED: Final = (
    b"authorization, connect-protocol-version, connect-timeout-ms, content-type, grpc-timeout,"
    b" traceparent, tracestate, x-cbr-project-id, x-grpc-web, x-user-agent"
)
_SHOWN: Final = (
    b"grpc-message, grpc-status, grpc-status-details-bin, retry-after, trailer-replayed,"
    b" trailer-x-request-id, x-request-id"
)
_MAX_AGE: Final = b"7200"
"""Seconds; browsers take no more."""

Headers = Sequence[tuple[bytes, bytes]]


class Cors:
    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._every = EVERY_ORIGIN in origins

    def headers(self, request: Headers) -> Headers:
        """What a response says; nothing to pages that are not allowed."""
        if not self._origins:
            return ()
        origin = dict(request).get(b"origin")
        vary = (b"vary", b"origin")
        if origin is None or not (self._every or origin in self._origins):
            return (vary,)
        return (
            vary,
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _SHOWN),
        )

    def preflight(self) -> Headers:
        """What the answer to a browser's question before the call says beside."""
        return (
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", _ALLOWED),
            (b"access-control-max-age", _MAX_AGE),
        )
