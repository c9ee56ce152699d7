"""What streams cost: many watchers of one project on one process, idle or at an event a second."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import processes
from benchmarks.goals import Verdict
from benchmarks.load import cpu_s_of
from benchmarks.processes import LOAD_CORE, Servant, Server

FEW: Final = 1000
_BUSY_S: Final = 1
_DEFAULT_BUSY_S: Final = 5
_REQUESTS_LIMIT: Final = 14.0
POLLED_IDLE_S: Final = 4
"""Also the time between two polls while no task is open."""
_POLLS: Final = 10
_FLOOD: Final = 5
_FLOOD_S: Final = 3
_BURST: Final = 1000
_AT_ONCE: Final = 100
_TASK_S: Final = 60
"""In which a task goes from 0 to 100 %: it is another one at every poll."""
_FLOOD_LIMIT, _FLOOD_LIMIT_MS = 1 / 0.9, 300.0
_KIB_LIMIT, _CORE_LIMIT, _POLLS_LIMIT, _FEW_LIMIT_MS, _MANY_LIMIT_MS = 30.0, 0.25, 1.2, 60.0, 130.0


@dataclass(frozen=True, slots=True)
class Level:
    """With so many streams and one event a second: shares of a core, milliseconds from the poll to
    the watcher, and polls of CBR meanwhile.
    """

    streams: int
    core_share: float
    p50_ms: float
    p99_ms: float
    polls: int


@dataclass(frozen=True, slots=True)
class Streams:
    """Everything that was found. `refused`: of 1,000 streams that were opened at once."""

    levels: tuple[Level, ...]
    opened_per_s: float
    stream_kib: float
    idle_core_share: float
    refused: int


@dataclass(frozen=True, slots=True)
class Overload:
    """`times` as many calls a second as the gateway answers when 64 are in flight: what share of
    those it still answers, and how fast.
    """

    times: int
    share: float
    p50_ms: float
    p99_ms: float


def flooded(address: str, peak_per_s: float) -> Overload:
    """Calls that do not wait for each other, each with a deadline of a second.

    What is refused is refused by gRPC, see `max_pending_requests`.
    """
    with processes.servant("audience", address, core=LOAD_CORE) as callers:
        found = ask(callers, f"flood {round(_FLOOD * peak_per_s)} {_FLOOD_S}")
    return Overload(_FLOOD, found["per_s"] / peak_per_s, found["p50_ms"], found["p99_ms"])


def carry_out(many: int, tell: Callable[[str], None]) -> Streams:
    """About a minute long with 10,000 streams."""
    with (
        watched_gateway(2 * many) as (cloud, server),
        processes.servant("audience", server.address, core=LOAD_CORE) as audience,
    ):
        return _measured(many, tell, cloud, server, audience)


@contextmanager
def watched_gateway(most: int) -> Iterator[tuple[Servant, Server]]:
    """A cloud with tasks, and a gateway before it that has room for so many streams."""
    sections = {
        "watch": {"busy_s": _BUSY_S, "idle_s": POLLED_IDLE_S},
        "limits": [{"metric": "open_streams", "value": most}],
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.servant("cloud", core=LOAD_CORE) as cloud,
        processes.gateway(Path(folder), cloud.greeting, "auto", sections) as server,
    ):
        yield cloud, server


def _measured(
    many: int, tell: Callable[[str], None], cloud: Servant, server: Server, audience: Servant
) -> Streams:
    tell(f"streams: {many} are opened")
    stream_kib, opened_per_s = opened(many, server.pid, audience)
    idle = core_share(server.pid, lambda: time.sleep(POLLED_IDLE_S), POLLED_IDLE_S)
    cloud.obey(f"task {_TASK_S}")
    time.sleep(POLLED_IDLE_S + 2)
    levels = []
    for streams in (many, FEW, 1):
        tell(f"streams: one event a second to {streams}")
        ask(audience, f"keep {streams}")
        time.sleep(1)
        levels.append(_level(streams, cloud, server, audience))
    ask(audience, "keep 0")
    burst = ask(audience, f"open {_BURST} {_BURST}")
    return Streams(tuple(levels), opened_per_s, stream_kib, idle, int(burst["refused"]))


def opened(many: int, pid: int, audience: Servant) -> tuple[float, float]:
    """Opens so many streams: KiB of each, and how many a second were opened."""
    ask(audience, "open 1 1")
    before_kib = _resident_kib(pid)
    found = ask(audience, f"open {many - 1} {_AT_ONCE}")
    if found["began"] != many - 1:
        raise RuntimeError(f"{found['refused']} of {many} streams were refused")
    return (_resident_kib(pid) - before_kib) / (many - 1), found["began"] / found["seconds"]


def _level(streams: int, cloud: Servant, server: Server, audience: Servant) -> Level:
    polls = int(cloud.obey("polls"))
    found: dict[str, Any] = {}
    share = core_share(server.pid, lambda: found.update(ask(audience, f"measure {_POLLS}")), _POLLS)
    return Level(streams, share, found["p50_ms"], found["p99_ms"], int(cloud.obey("polls")) - polls)


def ask(audience: Servant, order: str) -> dict[str, Any]:
    """Of `benchmarks.audience`."""
    answer: dict[str, Any] = msgspec.json.decode(audience.obey(order))
    return answer


def core_share(pid: int, meanwhile: Callable[[], object], seconds: float) -> float:
    """That a process takes while something goes on that lasts so long."""
    before_s = cpu_s_of(pid)
    meanwhile()
    return (cpu_s_of(pid) - before_s) / seconds


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def verdicts(found: Streams, overload: Overload) -> list[Verdict]:
    """Against the goals. The delays are in milliseconds."""
    many, few, one = found.levels
    return [
        Verdict(f"memory of one of {many.streams} streams, KiB", found.stream_kib, _KIB_LIMIT),
        Verdict(
            f"share of a core, one event a second to each of {many.streams}",
            many.core_share,
            _CORE_LIMIT,
        ),
        Verdict(f"one event to {few.streams} watchers, p99, ms", few.p99_ms, _FEW_LIMIT_MS),
        Verdict(f"one event to {many.streams} watchers, p50, ms", many.p50_ms, _MANY_LIMIT_MS),
        Verdict(
            f"polls of CBR, {many.streams} watchers / 1 watcher",
            many.polls / one.polls,
            _POLLS_LIMIT,
        ),
        Verdict(
            f"upstream requests per running task and minute, polled every {_DEFAULT_BUSY_S} s",
            one.polls / _POLLS * 60 * _BUSY_S / _DEFAULT_BUSY_S,
            _REQUESTS_LIMIT,
        ),
        Verdict(
            f"calls answered with 64 in flight / at {overload.times} times as many",
            1 / max(overload.share, 1e-9),
            _FLOOD_LIMIT,
        ),
        Verdict(
            f"GetVault at {overload.times} times as many calls, p99, ms",
            overload.p99_ms,
            _FLOOD_LIMIT_MS,
        ),
    ]


def table(found: Streams, overload: Overload) -> str:
    """Plain text."""
    lines = [f"{'streams':>10}{'core':>8}{'p50 ms':>10}{'p99 ms':>10}{'polls':>8}   for {_POLLS} s"]
    lines += [
        f"{x.streams:>10}{x.core_share:>8.1%}{x.p50_ms:>10.1f}{x.p99_ms:>10.1f}{x.polls:>8}"
        for x in found.levels
    ]
    many = found.levels[0].streams
    lines.append(
        f"{many} idle streams: {found.stream_kib:.1f} KiB each, {found.idle_core_share:.1%} of a"
        f" core; opened at {found.opened_per_s:.0f} a second"
    )
    lines.append(f"{_BURST} streams opened at once: {found.refused} refused")
    answered = (
        f"{overload.share:.0%} of the calls answered otherwise, p50 {overload.p50_ms:.0f} ms, p99"
        f" {overload.p99_ms:.0f} ms"
    )
    lines.append(f"{overload.times} times as many calls as can be answered: {answered}")
    return "\n".join(lines)
