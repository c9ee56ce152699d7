"""`python -m benchmarks --only streams`: watchers of the gateway beside those of a bare grpc.aio
server, in about a minute and a half.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

import msgspec

from benchmarks import processes
from benchmarks.goals import Verdict
from benchmarks.processes import LOAD_CORE, SERVER_CORE, Servant
from benchmarks.streams import POLLED_IDLE_S, ask, core_share, opened, watched_gateway

_AT_ONCE: Final = 100
_TASK_S: Final = 95
"""Longer than all turns, and another one at every poll."""
_KIB_LIMIT, _IDLE_PERCENT_LIMIT, _P99_LIMIT = 31.0, 0.5, 1.5


@dataclass(frozen=True, slots=True)
class Size:
    """`many` streams are idle for `idle_s`; then `few` hear of an event a second, so many of them
    in each turn.
    """

    many: int
    few: int
    idle_s: int
    turns: int
    events: int


FULL: Final = Size(many=3000, few=1000, idle_s=12, turns=4, events=6)


@dataclass(frozen=True, slots=True)
class Floor:
    """Of the gateway, and of the bare server. `p99_ms`: of each turn, the bare one first."""

    stream_kib: float
    bare_kib: float
    idle_core_share: float
    p99_ms: tuple[tuple[float, float], ...]


def carry_out(tell: Callable[[str], None], size: Size = FULL) -> Floor:
    many = size.many
    with (
        watched_gateway(2 * many) as (cloud, server),
        processes.servant("bare_streams", core=SERVER_CORE) as bare,
    ):
        tell(f"{many} streams of a bare server")
        with _audience(bare.greeting) as audience:
            bare_kib, _ = opened(many, bare.process.pid, audience)
        tell(f"{many} streams of the gateway, idle")
        with _audience(server.address) as audience:
            stream_kib, _ = opened(many, server.pid, audience)
            idle = core_share(server.pid, lambda: time.sleep(size.idle_s), size.idle_s)
        cloud.obey(f"task {_TASK_S}")
        p99_ms = []
        for turn in range(1, size.turns + 1):
            tell(f"one event a second to {size.few}, turn {turn} of {size.turns}")
            p99_ms.append((_told(bare, size), _heard(server.address, size)))
    return Floor(stream_kib, bare_kib, idle, tuple(p99_ms))


def _audience(address: str) -> AbstractContextManager[Servant]:
    return processes.servant("audience", address, core=LOAD_CORE)


@contextmanager
def _watchers(address: str, size: Size, settle_s: int) -> Iterator[Servant]:
    with _audience(address) as audience:
        ask(audience, f"open {size.few} {_AT_ONCE}")
        time.sleep(settle_s)
        audience.tell(f"measure {size.events}")
        yield audience


def _told(bare: Servant, size: Size) -> float:
    """p99 of events of the bare server, in ms."""
    with _watchers(bare.greeting, size, 1) as audience:
        for _ in range(size.events):
            time.sleep(1 - 1 / size.events)
            bare.obey("event")
        return _p99_ms(audience)


def _heard(address: str, size: Size) -> float:
    """p99 of events of the gateway, in ms: once it has seen that there is a task."""
    with _watchers(address, size, POLLED_IDLE_S + 1) as audience:
        return _p99_ms(audience)


def _p99_ms(audience: Servant) -> float:
    found = msgspec.json.decode(audience.answer(), type=dict[str, float])
    if not found["count"]:
        raise RuntimeError("no event came")
    return found["p99_ms"]


def verdicts(found: Floor) -> list[Verdict]:
    """Against the goals."""
    return [
        Verdict(
            f"memory of a stream, KiB (of a bare one {found.bare_kib:.1f})",
            found.stream_kib,
            _KIB_LIMIT,
        ),
        Verdict(
            "share of a core that idle streams take, %",
            found.idle_core_share * 100,
            _IDLE_PERCENT_LIMIT,
        ),
        Verdict(
            "p99 of one event to many watchers / bare grpc.aio writing to as many",
            median(gateway / bare for bare, gateway in found.p99_ms),
            _P99_LIMIT,
        ),
    ]
