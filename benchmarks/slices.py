"""One row of the comparison in under a minute: `python -m benchmarks --only get`.

The subjects take turns in short slices, many times over, and what counts is the median of the
ratios of neighbouring slices: what slows the machine down hits both. So it holds on a machine that
others use as well.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import msgspec

from benchmarks import envoy, processes
from benchmarks.load import Sample
from benchmarks.processes import LOAD_CORE, SERVER_CORE, Server

ECHO: Final = "echo"
PLAIN, EVERYTHING, ENVOY = "gateway", "everything on", "envoy"
UNCOUNTED = "without metrics"
NAIVE, DIRECT, SDK, CLIENT = "naive", "direct httpx", "vendor SDK", "client sync"
UNRECORDED, RECORDED = "traced, none recorded", "traced, all recorded"
_STUB: Final = "stub"
_CALLERS: Final = {DIRECT: ("httpx", _STUB), SDK: ("sdk", _STUB), CLIENT: ("grpc-sync", PLAIN)}
"""Subjects of which the caller is looked at: how it calls, and which server."""
OTHER: Final = {PLAIN: "gateway of the other tree", EVERYTHING: "everything on, other tree"}
_SETTLE_S: Final = 0.1
_MEASURE_S: Final = 0.3
_FOR_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Slice:
    """What is measured in one turn, and the most that it may come to as a multiple of `floor`, the
    case of the bare echo or of what else it is held `against`. What counts is the CPU of a server;
    of a subject without one, the caller's.
    """

    subject: str
    case: str
    floor: str
    goal: float
    against: str = ECHO


ROWS: Final = {
    "get": (
        Slice(PLAIN, "get:8", "get:8", 3.0),
        Slice(EVERYTHING, "get:8", "get:8", 4.3),
        Slice(PLAIN, "get:1", "get:1", 2.3),
        Slice(PLAIN, "get:64", "get:64", 3.5),
    ),
    "list": (Slice(PLAIN, "list:8", "list:8", 6.0), Slice(PLAIN, "list:1", "list:1", 6.0)),
    "create": (
        Slice(PLAIN, "create:8", "get:8", 6.5),
        Slice(EVERYTHING, "create:8", "get:8", 11.0),
    ),
    "envoy": (
        Slice(PLAIN, "get:8", "get:8", 2.4, against=ENVOY),
        Slice(PLAIN, "list:8", "list:8", 1.5, against=ENVOY),
    ),
    "naive": (Slice(PLAIN, "get:8", "get:8", 0.36, against=NAIVE),),
    "direct": (Slice(PLAIN, "get:8", "get:8", 0.75, against=DIRECT),),
    "client": (
        Slice(CLIENT, "get:1", "get:1", 0.16, against=SDK),
        Slice(CLIENT, "list:1", "list:1", 0.04, against=SDK),
    ),
    "metrics": (Slice(PLAIN, "get:8", "get:8", 1.05, against=UNCOUNTED),),
    "tracing": (
        Slice(UNRECORDED, "get:8", "get:8", 1.05, against=PLAIN),
        Slice(RECORDED, "get:8", "get:8", 2.0, against=PLAIN),
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """CPU in microseconds per call, and the ratio with its quartiles."""

    slice: Slice
    floor_us: float
    found_us: float
    low: float
    ratio: float
    high: float


def carry_out(
    row: str, tell: Callable[[str], None], for_s: float = _FOR_S, tree: Path | None = None
) -> list[Found]:
    """Measures one row of ROWS; with `tree`, against the gateway of another working tree."""
    wanted = ROWS[row] if tree is None else against_other(row)
    pairs: dict[Slice, list[tuple[float, float]]] = {each: [] for each in wanted}
    with ExitStack() as stack:
        servers = _servers(
            stack, {name for each in wanted for name in (each.subject, each.against)}, tree
        )
        caller = stack.enter_context(processes.servant("load", core=LOAD_CORE))
        turns = max(2, round(for_s / (2 * len(wanted) * (_SETTLE_S + _MEASURE_S))))
        for turn in range(turns + 1):
            tell(f"turn {turn} of {turns}")
            for each in wanted:
                floor = _cpu_us(caller, servers, each.against, each.floor)
                found = _cpu_us(caller, servers, each.subject, each.case)
                if turn:  # The first one warms everything up.
                    pairs[each].append((floor, found))
    return [_found(each, several) for each, several in pairs.items()]


def against_other(row: str) -> tuple[Slice, ...]:
    """A row as it is held against another tree, than which it should cost no more."""
    return tuple(
        Slice(each.subject, each.case, each.case, 1.0, OTHER[each.subject])
        for each in ROWS[row]
        if each.subject in OTHER
    )


def _cpu_us(
    caller: processes.Servant, servers: Mapping[str, Server], subject: str, case: str
) -> float:
    way, name = _CALLERS.get(subject, ("grpc", subject))
    server = servers[name]
    pid = 0 if subject in _CALLERS else server.pid
    line = caller.obey(f"{way} {server.address} {pid} {_SETTLE_S} {_MEASURE_S} {case}")
    found = msgspec.json.decode(line, type=Sample)
    return found.caller_cpu_us if subject in _CALLERS else found.server_cpu_us


def _found(of: Slice, pairs: list[tuple[float, float]]) -> Found:
    ratios = [server / floor for floor, server in pairs]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    floor_us, found_us = (median(each) for each in zip(*pairs, strict=True))
    return Found(of, floor_us, found_us, low, middle, high)


def _servers(stack: ExitStack, subjects: set[str], tree: Path | None) -> dict[str, Server]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    stub = stack.enter_context(processes.module("stub", core=LOAD_CORE))
    servers = {_STUB: stub}
    for name in sorted({_CALLERS[each][1] if each in _CALLERS else each for each in subjects}):
        if name not in servers:
            (own := directory / name).mkdir()
            servers[name] = stack.enter_context(_server(name, own, stub.address, tree))
    return servers


def _server(
    name: str, directory: Path, upstream: str, tree: Path | None
) -> AbstractContextManager[Server]:
    def gateway(**sections: Any) -> AbstractContextManager[Server]:  # noqa: ANN401 - as in the file
        return processes.gateway(directory, upstream, "httptools", sections)

    # The stub takes spans, too.
    spans = f"http://{upstream}/v3"
    known: Mapping[str, Callable[[], AbstractContextManager[Server]]] = {
        ECHO: lambda: processes.module("echo", core=SERVER_CORE),
        NAIVE: lambda: processes.module("naive", upstream, core=SERVER_CORE),
        ENVOY: lambda: envoy.transcoder(directory, upstream),
        PLAIN: gateway,
        OTHER[PLAIN]: lambda: processes.gateway(directory, upstream, "httptools", tree=tree),
        EVERYTHING: lambda: processes.everything(directory, upstream),
        OTHER[EVERYTHING]: lambda: processes.everything(directory, upstream, tree),
        UNCOUNTED: lambda: gateway(metrics={"enabled": False}),
        UNRECORDED: lambda: gateway(tracing={"endpoint": spans, "sample_ratio": 0.0}),
        RECORDED: lambda: gateway(tracing={"endpoint": spans, "sample_ratio": 1.0}),
    }
    return known[name]()


def lines(found: list[Found]) -> Iterator[str]:
    """A table for people."""
    yield (f"{'':30}{'floor us':>9}{'found us':>11}{'ratio':>8}{'quartiles':>14}{'at most':>9}")
    for each in found:
        quartiles = f"{each.low:.2f}-{each.high:.2f}"
        yield (
            f"{each.slice.subject + ', ' + each.slice.case:30}{each.floor_us:9.0f}"
            f"{each.found_us:11.0f}{each.ratio:8.2f}{quartiles:>14}{each.slice.goal:9.2f}"
            f"  {'met' if each.ratio <= each.slice.goal else 'MISSED'}"
        )
