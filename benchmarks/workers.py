"""What a second worker brings: `python -m benchmarks.workers` holds `serve --workers 2` against one
process, in slices that take turns, in under three minutes.

Calls a second tell it only where the callers leave two cores to the gateway. So there is a second
figure, from the CPU time of each process: how many more calls a second two cores carry once they
are used up, or the busiest process has used up one. Both count what the owner of the store takes.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any, Final

import msgspec

from benchmarks import limits, processes
from benchmarks.load import Sample, cpu_s_of
from benchmarks.processes import Servant, Server

GOAL: Final = 1.8
_CALLERS: Final = 8
"""Each has a connection, and its calls on it; the system spreads connections."""
_SETTLE_S: Final = 0.3
_MEASURE_S: Final = 0.9
_TURNS: Final = 15
_CASES: Final = {
    "GetVault": ("plain", "get:4"),
    "GetVault, limits in a file": ("limited", "get:4"),
    "CreateVault, limits in a file": ("limited", "create:4"),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """CPU is in microseconds per call, of all calls: of each worker, or of the only process; and of
    parent, fork server and owner of the store.
    """

    calls_per_s: float
    workers_us: tuple[float, ...]
    others_us: tuple[float, ...]

    @property
    def core_us(self) -> float:
        """Of the time of two cores that the gateway has for itself: what its busiest process takes,
        were connections spread evenly, and at least half of what all take.
        """
        together = sum(self.workers_us) + sum(self.others_us)
        return max(mean(self.workers_us), *self.others_us, together / 2)


Pairs = list[tuple[Turn, Turn]]
"""With one process, and right after it with two workers."""


def carry_out(turns: int) -> dict[str, Pairs]:
    found: dict[str, Pairs] = {}
    with _gateways() as (gateways, callers):
        for name, (kind, case) in _CASES.items():
            one, two = gateways[kind, 1], gateways[kind, 2]
            print(name, file=sys.stderr)
            _measured(one, callers, case)
            _measured(two, callers, case)  # Everything is warm then.
            found[name] = [
                (_measured(one, callers, case), _measured(two, callers, case)) for _ in range(turns)
            ]
    return found


@contextmanager
def _gateways() -> Iterator[tuple[Mapping[tuple[str, int], Server], list[Servant]]]:
    """All of them, by kind and number of workers, and who calls them. Nobody has a core alone."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stub = stack.enter_context(processes.module("stub", core=None))
        servers = {}
        for kind in ("plain", "limited"):
            for workers in (1, 2):
                (own := directory / f"{kind}-{workers}").mkdir()
                usual = processes.configuration(stub.address, "httptools")
                sections: dict[str, Any] = {"server": usual["server"] | {"workers": workers}}
                if kind == "limited":
                    sections |= limits.with_file(own)
                servers[kind, workers] = stack.enter_context(
                    processes.gateway(own, stub.address, "httptools", sections, core=None)
                )
        callers = [
            stack.enter_context(processes.servant("load", core=None)) for _ in range(_CALLERS)
        ]
        yield servers, callers


def _measured(server: Server, callers: list[Servant], case: str) -> Turn:
    pids = [server.pid, *_descendants(server.pid)]
    before, began = [cpu_s_of(pid) for pid in pids], time.perf_counter()
    for caller in callers:
        caller.tell(f"grpc {server.address} 0 {_SETTLE_S} {_MEASURE_S} {case}")
    samples = [msgspec.json.decode(caller.answer(), type=Sample) for caller in callers]
    calls_per_s = sum(each.calls_per_s for each in samples)
    calls = calls_per_s * (time.perf_counter() - began)
    us = [(cpu_s_of(pid) - was) / calls * 1e6 for pid, was in zip(pids, before, strict=True)]
    # In the order of their start: the fork server, the owner, then the workers.
    workers = us[-2:] if len(us) > 1 else us
    return Turn(calls_per_s, tuple(workers), tuple(us[: -len(workers)]))


def _descendants(pid: int) -> list[int]:
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [found for child in children for found in (child, *_descendants(child))]


def lines(found: Mapping[str, Pairs]) -> Iterator[str]:
    """A table for people. Others: parent, fork server, owner of the store."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    yield (
        f"{cores} cores, load {load:.1f} at the end; callers and the stub for CBR run on them, too"
    )
    yield f"{'':32}{'one/s':>8}{'two/s':>8}{'calls/s':>18}{'by CPU':>18}   goal {GOAL}"
    for name, pairs in found.items():
        sides = list(zip(*pairs, strict=True))
        one_s, two_s = (median(turn.calls_per_s for turn in side) for side in sides)
        rates = _spread([two.calls_per_s / one.calls_per_s for one, two in pairs])
        by_cpu = _spread([one.core_us / two.core_us for one, two in pairs])
        yield f"{name:32}{one_s:8.0f}{two_s:8.0f}{rates:>18}{by_cpu:>18}"
        for label, side in zip(("one", "two"), sides, strict=True):
            workers = _medians(turn.workers_us for turn in side)
            others = _medians(turn.others_us for turn in side)
            yield f"    CPU us per call, {label}: workers {workers}; others {others or '-'}"


def _medians(columns: Iterable[tuple[float, ...]]) -> str:
    return ", ".join(f"{median(each):.0f}" for each in zip(*columns, strict=True))


def _spread(ratios: list[float]) -> str:
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    for line in lines(carry_out(_TURNS)):
        print(line)
