"""Answers of the console: their headers let a page load and run nothing but its own."""

from collections.abc import Iterable
from http import HTTPStatus
from importlib import resources
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from gateway.console.admission import Refused

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_ASKS: Final = (("WWW-Authenticate", 'Basic realm="CBR Gateway", charset="UTF-8"'),)
ANOTHER: Final = "/console/another"
"""Where a browser that has sent a key is asked for another one."""
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"


def begun(start: StartResponse, kind: str) -> None:
    """Of an answer of unknown length."""
    start("200 OK", [("Content-Type", kind), *_HEADERS])


def whole(
    start: StartResponse,
    status: HTTPStatus,
    kind: str,
    body: bytes,
    more: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    """A whole answer."""
    length = ("Content-Length", str(len(body)))
    start(f"{status.value} {status.phrase}", [("Content-Type", kind), length, *_HEADERS, *more])
    return [body]


def refusal(refused: Refused, start: StartResponse) -> list[bytes]:
    """The browser asks for a key where none, or a wrong one, was sent; where one was sent that may
    not look, it is told where it asks for another one.
    """
    denied = refused.status is HTTPStatus.FORBIDDEN
    text = f"{refused}\nLog in as another: {ANOTHER}\n" if denied else f"{refused}\n"
    more = _ASKS if refused.status is HTTPStatus.UNAUTHORIZED else ()
    return whole(start, refused.status, TEXT, text.encode(), more)


def elsewhere(start: StartResponse, address: str) -> list[bytes]:
    return whole(start, HTTPStatus.SEE_OTHER, TEXT, b"", [("Location", address)])


def file(name: str, kind: str) -> WSGIApplication:
    """One of the files that pages load; they are no secret."""
    content = resources.files("gateway.console").joinpath("static", name).read_bytes()

    def served(_environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        return whole(start, HTTPStatus.OK, kind, content)

    return served
