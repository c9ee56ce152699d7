"""One row of the comparison in under a minute: `python -m benchmarks --only get`.

The subjects take turns in short slices, many times over, and what counts is the median of the
ratios of neighbouring slices: what slows the machine down hits both. So it holds on a machine that
others use as well.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import msgspec

from benchmarks import envoy, processes
from benchmarks.load import Sample
from benchmarks.processes import LOAD_CORE, SERVER_CORE, Server

ECHO: Final = "echo"
PLAIN, EVERYTHING, ENVOY = "gateway", "everything on", "envoy"
UNCOUNTED = "without metrics"
UNRECORDED, RECORDED = "traced, none recorded", "traced, all recorded"
OTHER: Final = {PLAIN: "gateway of the other tree", EVERYTHING: "everything on, other tree"}
_SETTLE_S: Final = 0.1
_MEASURE_S: Final = 0.3
_FOR_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Slice:
    """What is measured in one turn, and the most that it may come to as a multiple of `floor`, the
    case of the bare echo or of what else it is held `against`.
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
    "metrics": (Slice(PLAIN, "get:8", "get:8", 1.05, against=UNCOUNTED),),
    "tracing": (
        Slice(UNRECORDED, "get:8", "get:8", 1.05, against=PLAIN),
        Slice(RECORDED, "get:8", "get:8", 2.0, against=PLAIN),
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """CPU of the server in microseconds per call, and the ratio with its quartiles."""

    slice: Slice
    floor_us: float
    server_us: float
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
                floor = _measured(caller, servers[each.against], each.floor)
                found = _measured(caller, servers[each.subject], each.case)
                if turn:  # The first one warms everything up.
                    pairs[each].append((floor.server_cpu_us, found.server_cpu_us))
    return [_found(each, several) for each, several in pairs.items()]


def against_other(row: str) -> tuple[Slice, ...]:
    """A row as it is held against another tree, than which it should cost no more."""
    return tuple(
        Slice(each.subject, each.case, each.case, 1.0, OTHER[each.subject])
        for each in ROWS[row]
        if each.subject in OTHER
    )


def _measured(caller: processes.Servant, server: Server, case: str) -> Sample:
    line = caller.obey(f"grpc {server.address} {server.pid} {_SETTLE_S} {_MEASURE_S} {case}")
    return msgspec.json.decode(line, type=Sample)


def _found(of: Slice, pairs: list[tuple[float, float]]) -> Found:
    ratios = [server / floor for floor, server in pairs]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    floor_us, server_us = (median(each) for each in zip(*pairs, strict=True))
    return Found(of, floor_us, server_us, low, middle, high)


def _servers(stack: ExitStack, subjects: set[str], tree: Path | None) -> dict[str, Server]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    stub = stack.enter_context(processes.module("stub", core=LOAD_CORE))
    servers = {ECHO: stack.enter_context(processes.module("echo", core=SERVER_CORE))}
    if PLAIN in subjects:
        servers[PLAIN] = stack.enter_context(
            processes.gateway(directory, stub.address, "httptools")
        )
    if ENVOY in subjects:
        servers[ENVOY] = stack.enter_context(envoy.transcoder(directory, stub.address))
    if EVERYTHING in subjects:
        servers[EVERYTHING] = stack.enter_context(processes.everything(directory, stub.address))
    (other := directory / "other").mkdir()
    if OTHER[PLAIN] in subjects:
        servers[OTHER[PLAIN]] = stack.enter_context(
            processes.gateway(other, stub.address, "httptools", tree=tree)
        )
    if OTHER[EVERYTHING] in subjects:
        servers[OTHER[EVERYTHING]] = stack.enter_context(
            processes.everything(other, stub.address, tree)
        )
    if UNCOUNTED in subjects:
        (own := directory / "uncounted").mkdir()
        servers[UNCOUNTED] = stack.enter_context(
            processes.gateway(own, stub.address, "httptools", {"metrics": {"enabled": False}})
        )
    for name, ratio in ((UNRECORDED, 0.0), (RECORDED, 1.0)):
        if name in subjects:
            # The stub takes spans, too.
            tracing = {"endpoint": f"http://{stub.address}/v3", "sample_ratio": ratio}
            (own := directory / name).mkdir()
            servers[name] = stack.enter_context(
                processes.gateway(own, stub.address, "httptools", {"tracing": tracing})
            )
    return servers


def lines(found: list[Found]) -> Iterator[str]:
    """A table for people."""
    yield (f"{'':30}{'floor us':>9}{'server us':>11}{'ratio':>8}{'quartiles':>14}{'at most':>9}")
    for each in found:
        quartiles = f"{each.low:.2f}-{each.high:.2f}"
        yield (
            f"{each.slice.subject + ', ' + each.slice.case:30}{each.floor_us:9.0f}"
            f"{each.server_us:11.0f}{each.ratio:8.2f}{quartiles:>14}{each.slice.goal:9.2f}"
            f"  {'met' if each.ratio <= each.slice.goal else 'MISSED'}"
        )
