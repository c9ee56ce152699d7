"""What is measured, in which order.

Subjects take turns within a round, so that a slow minute of the machine hits all of them; of the
rounds, the medians count.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Final

import grpc
import msgspec
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from benchmarks import limits, processes, streams
from benchmarks.commits import commits
from benchmarks.goals import Rounds
from benchmarks.load import Sample
from benchmarks.payloads import VAULT_ID
from benchmarks.processes import LOAD_CORE, SERVER_CORE, Server
from benchmarks.streams import Overload, Streams
from benchmarks.ways import API_KEY

_ALL: Final = tuple(
    f"{workload}:{in_flight}" for workload in ("get", "list") for in_flight in (1, 8, 64)
)
_ONE: Final = ("get:1", "list:1")
_CREATE: Final = "create:8"
_CHANGES: Final = ("create:1", _CREATE)
_LIMITED: Final = ("get:8", _CREATE)
_STARTS_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a run takes: seconds of each case, and rounds over all of them.

    `streams`: how many are opened.
    """

    rounds: int
    settle_s: float
    measure_s: float
    starts: int
    streams: int


FULL: Final = Pace(rounds=3, settle_s=0.3, measure_s=1.1, starts=3, streams=10_000)
QUICK: Final = Pace(rounds=1, settle_s=0.15, measure_s=0.35, starts=1, streams=1000)


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the comparison. `server`: which of the running servers it calls."""

    name: str
    way: str
    server: str
    cases: tuple[str, ...]


SUBJECTS: Final = (
    Subject("echo", "grpc", "echo", _ALL),
    Subject("gateway httptools", "grpc", "httptools", (*_ALL, *_CHANGES)),
    Subject("without metrics", "grpc", "unmetered", ("get:8",)),
    Subject("limits, file", "grpc", "sqlite", _LIMITED),
    Subject("limits, Valkey", "grpc", "valkey", _LIMITED),
    Subject("everything on", "grpc", "everything", _LIMITED),
    Subject("gateway audited", "grpc", "audited", ("get:1", "get:8", *_CHANGES)),
    Subject("gateway httpx", "grpc", "httpx", _ALL),
    Subject("naive", "grpc", "naive", _ALL),
    Subject("direct httpx", "httpx", "stub", _ALL),
    Subject("vendor SDK", "sdk", "stub", ("get:1", "get:8", "list:1", "list:8")),
    Subject("client sync", "grpc-sync", "httptools", _ONE),
)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run found: of each round, the best start, what streams cost; the audit
    log's records a second, by how many wait.
    """

    rounds: Rounds
    start_s: float
    streams: Streams
    overload: Overload
    commits: Mapping[int, float]

    @property
    def figures(self) -> dict[tuple[str, str], Sample]:
        """Medians of the rounds."""
        return {key: middle(samples) for key, samples in self.rounds.items()}


def carry_out(pace: Pace, tell: Callable[[str], None]) -> Run:
    """Runs everything, about (rounds * 49 cases * their seconds) and another minute long."""
    with _servers() as (servers, restart):
        samples: dict[tuple[str, str], list[Sample]] = {}
        for number in range(1, pace.rounds + 1):
            for subject in SUBJECTS:
                tell(f"round {number} of {pace.rounds}: {subject.name}")
                for found in _measured(subject, servers[subject.server], pace):
                    samples.setdefault((subject.name, found.case), []).append(found)
        tell("overload")
        overload = streams.flooded(
            servers["httptools"].address, middle(samples["gateway httptools", "get:64"]).calls_per_s
        )
        tell("starts")
        start_s = min(restart() for _ in range(pace.starts))
    tell("the audit log by itself")
    with tempfile.TemporaryDirectory() as directory:
        durable = commits(Path(directory), pace.measure_s)
    found = streams.carry_out(pace.streams, tell)
    return Run(samples, start_s, found, overload, durable)


def _measured(subject: Subject, server: Server, pace: Pace) -> list[Sample]:
    of_server = subject.server != "stub"
    output = processes.load(
        subject.way, server, subject.cases, pace.settle_s, pace.measure_s, of_server=of_server
    )
    return [msgspec.json.decode(line, type=Sample) for line in output.splitlines()]


def middle(rounds: Sequence[Sample]) -> Sample:
    """Each figure's median on its own."""
    numbers = {
        name: median(getattr(each, name) for each in rounds)
        for name in Sample.__slots__
        if name not in {"way", "case", "calls"}
    }
    return Sample(
        way=rounds[0].way, case=rounds[0].case, calls=sum(each.calls for each in rounds), **numbers
    )


@contextmanager
def _servers() -> Iterator[tuple[dict[str, Server], Callable[[], float]]]:
    """All servers, idle until they are called, and a function that starts one more gateway and
    tells how long it took.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stub = stack.enter_context(processes.module("stub", core=LOAD_CORE))
        valkey = stack.enter_context(processes.valkey(directory))
        servers = {
            "stub": stub,
            "echo": stack.enter_context(processes.module("echo", core=SERVER_CORE)),
            "naive": stack.enter_context(processes.module("naive", stub.address, core=SERVER_CORE)),
            "httptools": stack.enter_context(
                processes.gateway(directory, stub.address, "httptools")
            ),
            "httpx": stack.enter_context(processes.gateway(directory, stub.address, "httpx")),
            "unmetered": stack.enter_context(
                processes.gateway(
                    directory, stub.address, "httptools", {"metrics": {"enabled": False}}
                )
            ),
            "sqlite": stack.enter_context(
                processes.gateway(directory, stub.address, "httptools", limits.with_file(directory))
            ),
            "valkey": stack.enter_context(
                processes.gateway(
                    directory, stub.address, "httptools", limits.with_valkey(), BENCH_VALKEY=valkey
                )
            ),
            "audited": stack.enter_context(processes.audited(directory, stub.address)),
            "everything": stack.enter_context(processes.everything(directory, stub.address)),
        }
        yield servers, lambda: _start_s(directory, stub.address)


def _start_s(directory: Path, upstream: str) -> float:
    with (
        processes.gateway(directory, upstream, "auto") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        metadata = (("authorization", f"Bearer {API_KEY}"),)
        VaultServiceStub(channel).GetVault(
            vault_pb2.GetVaultRequest(vault_id=VAULT_ID), metadata=metadata, timeout=_STARTS_S
        )
        return monotonic() - server.begun
