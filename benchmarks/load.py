"""The caller: keeps a fixed number of calls in flight for a fixed time, and reads the CPU time that
both sides spent meanwhile.

Run in a process of its own: `python -m benchmarks.load WAY ADDRESS SERVER_PID SETTLE_S MEASURE_S
CASE...`, a CASE is `get:8`, `list:1` or `create:8`. Each line of its output is one Sample as JSON,
in the order of the cases. Without arguments it takes such lines as orders, with one case each, and
keeps its connections. Ways to call: see `benchmarks.ways`.
"""

import asyncio
import resource
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from threading import Thread
from typing import Final

import msgspec

from benchmarks.ways import Call, SyncCall, Way, open_way

_FEWEST: Final = 2
"""Calls that a sample must hold."""
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """`workload`: get, list or create."""

    workload: str
    in_flight: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        workload, _, in_flight = text.partition(":")
        return cls(workload, int(in_flight))

    def __str__(self) -> str:
        return f"{self.workload}:{self.in_flight}"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one case came to.

    CPU is in microseconds per call; `server_cpu_us` is 0 where the server is only the stub.
    """

    way: str
    case: str
    calls: int
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    caller_cpu_us: float
    server_cpu_us: float


def cpu_s_of(pid: int) -> float:
    """CPU seconds, to the nanosecond, that those threads of a process used which are there now."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass(slots=True)
class Tally:
    """The calls that ended, as begin and end; `over` tells the workers to stop."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    over: bool = False

    def ended(self, first: "Reading", last: "Reading") -> int:
        """How many ended between the two."""
        return sum(first.at < end <= last.at for _, end in self.spans)

    async def work(self, call: Call) -> None:
        while not self.over:
            begun = time.perf_counter()
            await call()
            self.spans.append((begun, time.perf_counter()))

    def work_in_thread(self, call: SyncCall) -> None:
        while not self.over:
            begun = time.perf_counter()
            call()
            self.spans.append((begun, time.perf_counter()))


@dataclass(frozen=True, slots=True)
class Reading:
    """The clocks at one moment, in seconds."""

    at: float
    own: float
    server: float

    @classmethod
    def take(cls, server_pid: int) -> "Reading":
        return cls(time.perf_counter(), _own_cpu_s(), cpu_s_of(server_pid) if server_pid else 0.0)


def sample(
    way: str, case: Case, spans: list[tuple[float, float]], first: Reading, last: Reading
) -> Sample:
    """Of the calls that ended between the two readings.

    Raises ValueError when there are fewer than two.
    """
    took = [(end - begun) * 1000 for begun, end in spans if first.at < end <= last.at]
    if len(took) < _FEWEST:
        raise ValueError(f"{way} {case}: only {len(took)} calls ended while it was measured")
    cuts = quantiles(took, n=100, method="inclusive")
    return Sample(
        way=way,
        case=str(case),
        calls=len(took),
        calls_per_s=len(took) / (last.at - first.at),
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        caller_cpu_us=(last.own - first.own) / len(took) * 1e6,
        server_cpu_us=(last.server - first.server) / len(took) * 1e6,
    )


async def measure(
    way: Way, case: Case, server_pid: int, settle_s: float, measure_s: float
) -> Sample:
    """Loads the server with one case for `measure_s`, or longer where no two calls end in it."""
    tally = Tally()
    call = way.calls[case.workload]
    if isinstance(call, SyncCall):
        threads = [
            Thread(target=tally.work_in_thread, args=(call,), daemon=True)
            for _ in range(case.in_flight)
        ]
        for thread in threads:
            thread.start()
    else:
        tasks = [asyncio.create_task(tally.work(call)) for _ in range(case.in_flight)]
    await asyncio.sleep(settle_s)
    first = Reading.take(server_pid)
    # On a busy machine the time may be too short for any call to end: a figure wants two of them,
    # whatever it takes.
    while True:
        await asyncio.sleep(measure_s)
        last = Reading.take(server_pid)
        if tally.ended(first, last) >= _FEWEST or last.at - first.at >= _TIMEOUT_S:
            break
    tally.over = True
    if isinstance(call, SyncCall):
        for thread in threads:
            thread.join()
    else:
        await asyncio.gather(*tasks)
    return sample(way.name, case, tally.spans, first, last)


async def obey() -> None:
    """Orders from standard input until its end."""
    async with AsyncExitStack() as stack:
        ways: dict[tuple[str, str], Way] = {}
        print("ready", flush=True)
        while order := await asyncio.to_thread(sys.stdin.readline):
            name, address, pid, settle_s, measure_s, case = order.split()
            if (name, address) not in ways:
                ways[name, address] = await stack.enter_async_context(open_way(name, address))
            way = ways[name, address]
            found = await measure(
                way, Case.parse(case), int(pid), float(settle_s), float(measure_s)
            )
            print(msgspec.json.encode(found).decode(), flush=True)


async def main(
    name: str, address: str, server_pid: str, settle_s: str, measure_s: str, *cases: str
) -> None:
    async with open_way(name, address) as way:
        for case in cases:
            found = await measure(
                way, Case.parse(case), int(server_pid), float(settle_s), float(measure_s)
            )
            print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]) if sys.argv[1:] else obey())
