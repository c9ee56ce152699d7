"""The one seam through which bytes leave for CBR and IAM, and what may be said after a failure.

    NotSent     proof: not one byte of the request was written; any call may be repeated
    Lost        a byte was, or may have been, written and no complete answer came; the outcome is
                unknown
      TooLarge  the answer is over the cap

A transport sends a request once: it follows no redirect, repeats nothing, keeps no cookies and
reads no environment. Two implementations pass one conformance suite: `http_httpx` always works,
`http_httptools` is the fast one.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, Protocol, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.connect_failure import ConnectFailure
from gateway.extras import require
from gateway.regular_file import read_file
from gateway.upstream.breaker import Verdict

FAST: Final = ("aiohappyeyeballs", "httptools")
"""What the extra `fast` brings for the fast transport."""
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Cap of a decoded response body."""

_NEARLY: Final = 0.9
_ALMOST_ALL: Final = 0.95
_ORIGIN: Final = re.compile(r"https?://(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_TARGET: Final = re.compile(r'/[!"$-~]*')
"""Printable ASCII but `#`."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")


class Unanswered(Exception):  # noqa: N818 - a statement about the request, which is what callers ask for
    """No complete answer came.

    `given_s`: where the time ran out, the seconds that the host itself was given; None where it
    failed by itself.
    """

    def __init__(self, message: str, *, given_s: float | None = None) -> None:
        super().__init__(message)
        self.given_s = given_s

    @property
    def advice(self) -> str:
        """What the operator can look at; for the log."""
        return ""

    @property
    def timed_out(self) -> bool:
        return self.given_s is not None

    def verdict(self, full_s: float) -> Verdict:
        """What this says to the breakers. `full_s`: the time that a host is given at most."""
        if not self.blames_host(full_s):
            return Verdict.NOTHING
        return Verdict.UNREACHABLE if isinstance(self, NotSent) else Verdict.FAILURE

    def blames_host(self, full_s: float) -> bool:
        """Whether this speaks against the host: it failed, or stayed silent for (nearly) `full_s`;
        a hurried caller or our own pool does not.
        """
        return self.given_s is None or self.given_s >= _NEARLY * full_s


class NotSent(Unanswered):
    """Zero bytes of the request were written: the wait for a connection, name resolution,
    connecting or TLS failed, or it was called back.

    `connect`: why there was no connection, where that is what failed.
    """

    def __init__(
        self, message: str, *, given_s: float | None = None, connect: ConnectFailure | None = None
    ) -> None:
        super().__init__(message, given_s=given_s)
        self.connect = connect

    @classmethod
    def out_of_time(cls, spent_s: float, allowed_s: float, full_s: float) -> Self:
        """No connection in time.

        `allowed_s`: what the host had for it; where that is all it ever gets, `full_s`, its silence
        speaks against it.
        """
        if spent_s < _ALMOST_ALL * allowed_s:
            return cls("no connection was made (time ran out)", given_s=spent_s)
        given_s = None if allowed_s == full_s else spent_s
        return cls(
            f"no connection came about in {spent_s:.1f} s",
            given_s=given_s,
            connect=ConnectFailure.SILENT,
        )

    @property
    def advice(self) -> str:
        return self.connect.advice() if self.connect else ""


class CalledBack(NotSent):
    """`may_write` said no. The host is not to blame."""

    def __init__(self) -> None:
        super().__init__("called back before the request was written", given_s=0.0)


class NoPlace(NotSent):
    """The caller's own share of the connections is taken, by calls that the host is slow to
    answer.
    """

    def __init__(self) -> None:
        super().__init__("no place came free in the tenant's share of the connections", given_s=0.0)


class Lost(Unanswered):
    """The request was or may have been written, and no complete answer came."""

    @property
    def advice(self) -> str:
        return (
            ""
            if self.timed_out
            else (
                "if it is so for every call, check that the endpoint's scheme is what the port"
                " speaks: https:// for TLS"
            )
        )


class TooLarge(Lost):
    """The body of a success is over MAX_BODY_BYTES, counted after decompression.

    That is a limit of ours: it does not speak against the host. An error's is not read any further.
    """

    @property
    def advice(self) -> str:
        return ""

    def blames_host(self, full_s: float) -> bool:  # noqa: ARG002 - of Unanswered
        return False


@lru_cache(maxsize=256)
def _is_origin(text: str) -> bool:
    return _ORIGIN.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _are_header_names(texts: tuple[str, ...]) -> bool:
    return all(map(_HEADER_NAME.fullmatch, texts))


@lru_cache(maxsize=256)
def _split(url: str) -> tuple[str, str]:
    """A request is split twice on its way: for its signature, and to be written."""
    # The first one behind `https://`.
    cut = url.find("/", 8)
    origin, target = url[:cut], url[cut:]
    if cut < 0 or not _is_origin(origin) or not _TARGET.fullmatch(target):
        raise ValueError("the URL is not an absolute http or https URL of printable ASCII")
    return origin, target


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """One request.

    `url` is absolute and sent byte for byte from the first `/` on; headers are sent as given.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def __repr__(self) -> str:
        """Without secrets."""
        return f"HttpRequest(method={self.method!r}, url={self.url!r})"

    def split_url(self) -> tuple[str, str]:
        """Origin and request target: `https://host:443` and `/path?query`.

        ValueError for anything else, a fragment too.
        """
        return _split(self.url)

    def check_headers(self) -> None:
        """ValueError for a header that would not reach the wire as exactly one header line."""
        # What a value may hold does not depend on its place in it, so all are looked at as one.
        values = "".join(self.headers.values())
        if not _are_header_names(tuple(self.headers)) or not _HEADER_VALUE.fullmatch(values):
            raise ValueError("a header's name or value holds characters that HTTP does not allow")


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """A complete answer. Header names are lower case; the body is decompressed.

    The body of an error that is over MAX_BODY_BYTES is empty.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Without what a body may hold."""
        return f"HttpResponse(status={self.status!r})"


FIRST_ERROR: Final = 400
"""Of the HTTP statuses."""


def always() -> bool:
    """Lets every request go."""
    return True


class Transport(Protocol):
    """Sends requests, each once."""

    connect_timeout_s: float
    """What a host is given for its name, the connection and TLS together."""

    async def send(
        self,
        request: HttpRequest,
        timeout_s: float,
        may_write: Callable[[], bool] = always,
        *,
        connect_s: float | None = None,
    ) -> HttpResponse:
        """The answer within `timeout_s`, which bounds everything: the wait for a connection,
        sending, the whole body.

        A new connection must stand within `connect_s`, at most `connect_timeout_s`, which it is
        when left out. `may_write` is asked once, just before the first byte; when it says no,
        nothing is written and NotSent is raised. Raises NotSent, Lost or TooLarge; ValueError for a
        malformed request, before anything is sent. When the caller is cancelled, nothing more is
        written, and a request already written is given up at once.
        """
        ...

    async def aclose(self) -> None:
        """Gives up what is in flight and closes all connections."""
        ...


class TransportSettings(BaseModel):
    """How the gateway reaches CBR and IAM."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transport: Literal["auto", "httpx", "httptools"] = Field(
        default="auto",
        description=(
            "HTTP library; `auto` takes httptools where it is installed and there is no proxy."
        ),
    )
    connect_timeout_s: float = Field(
        default=3.0,
        ge=0.1,
        le=30,
        description=(
            "Time for a connection, from the host's name to the end of the TLS handshake; all"
            " attempts of a call together."
        ),
    )
    max_connections: int = Field(
        default=150,
        ge=1,
        le=10_000,
        description=(
            "Connections, and so requests in flight, per host; one project has at most as many as"
            " are free beyond those of its tenant."
        ),
    )
    proxy: str | None = Field(
        default=None,
        pattern=r"^http://[^\s@]+$",
        description=(
            "URL of a forward proxy (`http://host:port`); the environment is not read. Takes httpx."
        ),
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of certificate authorities to trust instead of the system's.",
    )
    keepalive_s: float = Field(
        default=60.0, ge=0, le=3600, description="Seconds that an idle connection is kept open."
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.proxy is not None and self.transport == "httptools":
            raise ValueError(
                "transport httptools knows no proxies. Leave out transport, or set it to httpx"
            )
        if self.transport == "httptools":
            require("fast", FAST)
        return self


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, names checked; by the system's authorities where there is no file of them.

    Raises OSError for a file that cannot be read, or is not PEM.
    """
    try:
        own = read_file(ca_file).decode("ascii") if ca_file else None
    except UnicodeDecodeError:
        raise ssl.SSLError(0, "not PEM") from None
    context = ssl.create_default_context(cadata=own)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
