"""The health service: what was announced, as long as the event loop goes on.

It has threads of its own, and so would answer for a process whose loop stands still. A thread looks
whether the loop has given a sign of life lately.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_LOOKS: Final = 4
"""Signs of life, and looks for them, within the time that the loop may stand still."""

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Health:
    """One per process, for all its services.

    Used on the event loop, but for the thread that looks.
    """

    def __init__(self, service_names: Iterable[str], stall_s: float) -> None:
        self._servicer = health.HealthServicer()
        self._names = ("", *service_names)
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._serving = False
        self._stalled = False
        self._alive_at = time.monotonic()
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0

    def add_to(self, server: grpc.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def start(self) -> None:
        """Says SERVING from now on, while the running loop goes on."""
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        self._give_sign()
        threading.Thread(target=self._look, name="health-loop", daemon=True).start()
        self.announce(serving=True)

    @property
    def stalled(self) -> bool:
        """Whether the event loop stands still."""
        return self._stalled

    @property
    def serving(self) -> bool:
        """What was announced."""
        return self._serving

    def announce(self, *, serving: bool) -> None:
        with self._lock:
            self._serving = serving
            self._tell()

    def end(self) -> None:
        """Says NOT_SERVING for good, and ends the streams."""
        self._ended.set()
        self._servicer.enter_graceful_shutdown()

    def _tell(self) -> None:
        for name in self._names:
            self._servicer.set(
                name, _SERVING if self._serving and not self._stalled else _NOT_SERVING
            )

    def _give_sign(self) -> None:
        self._alive_at = time.monotonic()
        if self._loop is not None and not self._ended.is_set():
            self._loop.call_later(self._stall_s / _LOOKS, self._give_sign)

    def _look(self) -> None:
        while not self._ended.wait(self._stall_s / _LOOKS):
            stalled = time.monotonic() - self._alive_at > self._stall_s
            if stalled == self._stalled:
                continue
            with self._lock:
                self._stalled = stalled
                self._tell()
            if stalled:
                frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, in spite of its name
                log.error(
                    "the event loop stands still: health says NOT_SERVING",
                    stack="".join(traceback.format_stack(frame)),
                )
            else:
                log.warning("the event loop goes on")
