"""Pages that go on to change in the browser: what is new of them, as Server-Sent Events."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from wsgiref.types import StartResponse

from gateway.console.admission import Refused
from gateway.console.http import TEXT, begun, whole

_EVERY_S: Final = 2.0
_PULSE_S: Final = 0.5
"""So soon it is noticed that the browser has gone on to another page."""
_RECHECK_S: Final = 30.0
_LONGEST_S: Final = 600.0
"""Of one connection; the browser comes again by itself."""
_AT_ONCE: Final = 6
"""Each holds one of the threads of the admin port, which probes need, too."""


@dataclass(frozen=True, slots=True)
class Live:
    """One per process."""

    _places: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_AT_ONCE)
    )

    def answer(
        self, start: StartResponse, render: Callable[[], str], recheck: Callable[[], None]
    ) -> Iterable[bytes]:
        """`recheck`: raises Refused for a visitor who may see no more."""
        if not self._places.acquire(blocking=False):
            text = f"{_AT_ONCE} pages change by themselves already; this one does not.\n"
            return whole(start, HTTPStatus.SERVICE_UNAVAILABLE, TEXT, text.encode())
        begun(start, "text/event-stream")
        return _Events(_news(render, recheck), self._places.release)


def _news(render: Callable[[], str], recheck: Callable[[], None]) -> Iterator[bytes]:
    begun_at = checked = time.monotonic()
    before = ""
    while (now := time.monotonic()) < begun_at + _LONGEST_S:
        if now >= checked + _RECHECK_S:
            checked = now
            try:
                recheck()
            except Refused:
                return
        try:
            text = render()
        except Refused:
            # Nobody answers now; the browser comes again.
            return
        if text != before:
            yield _event(text)
            before = text
        for _ in range(round(_EVERY_S / _PULSE_S)):
            time.sleep(_PULSE_S)
            yield b":\n\n"


def _event(text: str) -> bytes:
    return "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"


class _Events:
    """A response that goes on; `close` is called by the server, however it ends."""

    def __init__(self, parts: Iterator[bytes], closed: Callable[[], object]) -> None:
        self._parts, self._closed = parts, closed

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        self._closed()
