"""The gateway under more than it can do, and beside what is sick: `make soak-load`.

Calls come as often as they come, answered or not (open loop), each with a deadline of a second; the
gateway has one core, callers and CBR's stub the other. The peak is what a closed loop gets, once
before and once after everything else: a machine that others use as well shows in the difference.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, Self

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import processes
from benchmarks.open_loop import Crowd, Ended, Order
from benchmarks.processes import LOAD_CORE

Tell = Callable[[str], None]
QUIET, NOISY, SICK = "quiet", "noisy", "sick"
SICKNESSES: Final = ("hang", "503", "429", "drip")
_CONNECTIONS: Final = 20
_CLOSED: Final = 3
"""In flight on each of these connections, where the peak is looked for."""
_QUIET_PER_S: Final = 20.0
_SICK_PER_S: Final = 40.0
_OTHERS_PER_S: Final = 100.0
_TYPED: Final = frozenset({"8", "14", "reset 7"})
"""RESOURCE_EXHAUSTED, UNAVAILABLE, and streams that were refused, which clients repeat."""
_PROBE_S: Final = 0.1


class Probes:
    """Health, asked all the while."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = Event()
        self._thread = Thread(target=self._ask, daemon=True)
        self.asked = self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            while not self._over.wait(_PROBE_S):
                self.asked += 1
                try:
                    answer = check(health_pb2.HealthCheckRequest(), timeout=1)
                    self.failed += answer.status != health_pb2.HealthCheckResponse.SERVING
                except grpc.RpcError:
                    self.failed += 1


@dataclass(frozen=True, slots=True)
class Gateway:
    """One to load, and those who do."""

    health: str
    callers: processes.Servant
    seconds: float

    def under(self, *crowds: Crowd, seconds: float = 0) -> list[Ended]:
        order = Order(list(crowds), seconds or self.seconds)
        return msgspec.json.decode(
            self.callers.obey(msgspec.json.encode(order).decode()), type=list[Ended]
        )

    def peak(self) -> Ended:
        return self.under(_crowd(NOISY, 0, in_flight=_CLOSED))[0]


@contextmanager
def gateway(
    seconds: float, *sick: str, limits: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Gateway]:
    """`sick`: what is wrong with the project of that tenant. `limits`: those of the noisy one."""
    wrong = [f"{_project(SICK)}={kind}" for kind in sick]
    noisy = {**_tenant(NOISY), "limits": list(limits)}
    sections = {"tenants": [_tenant(QUIET), noisy, _tenant(SICK)]}
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.module("stub", *wrong, core=LOAD_CORE) as stub,
        processes.gateway(Path(folder), stub.address, "auto", sections) as served,
        processes.servant("open_loop", served.address, core=LOAD_CORE) as callers,
    ):
        yield Gateway(served.health, callers, seconds)


def _project(tenant: str) -> str:
    return hashlib.md5(tenant.encode(), usedforsecurity=False).hexdigest()


def _tenant(name: str) -> dict[str, Any]:
    key = hashlib.sha256(f"key-of-{name}".encode()).hexdigest()
    project = {"id": _project(name), "region": "local", "credential": "main"}
    return {
        "id": name,
        "default_project": project["id"],
        "projects": [project],
        "api_keys": [{"id": "load", "sha256": key}],
    }


def _crowd(tenant: str, rate: float, connections: int = _CONNECTIONS, **more: int) -> Crowd:
    return Crowd(f"key-of-{tenant}", rate, connections, **more)


def _typed(ended: Ended) -> float:
    """Of the calls that were not answered, the share that was told so in a way to act on."""
    others = {end: count for end, count in ended.ends.items() if end != "0"}
    return sum(others.get(end, 0) for end in _TYPED) / max(1, sum(others.values()))


def _ends(ended: Ended) -> str:
    return " ".join(f"{end}:{count}" for end, count in sorted(ended.ends.items()) if end != "0")


def _served(ended: Ended) -> str:
    return f"{ended.answered}/{ended.sent} ({ended.answered / max(1, ended.sent):.1%})"


def _beside(found: Ended, alone: Ended) -> str:
    times = found.p99_ms / max(1e-9, alone.p99_ms)
    return f"{_served(found)}, p50 {found.p50_ms:.0f} p99 {found.p99_ms:.0f} ms = {times:.1f}x"


def flood(tell: Tell, at: Gateway, times: Sequence[float]) -> float:
    """More calls than can be answered, of one tenant; the peak."""
    peak = at.peak()
    tell(f"peak {peak.per_s:.0f}/s, p99 {peak.p99_ms:.0f} ms")
    tell("   times  goodput  p50 ms  p99 ms   typed  prompt  health failed  ends")
    for each in times:
        with Probes(at.health) as probes:
            (found,) = at.under(_crowd(NOISY, each * peak.per_s))
        (after,) = at.under(_crowd(QUIET, _QUIET_PER_S, 1), seconds=2.5)
        tell(
            f"{each:>8g}{found.per_s / peak.per_s:>9.0%}{found.p50_ms:>8.0f}{found.p99_ms:>8.0f}"
            f"{_typed(found):>8.1%}{found.prompt:>8.1%}{probes.failed:>8}/{probes.asked:<6}"
            f" {_ends(found)}; then {_served(after)}, p99 {after.p99_ms:.0f} ms"
        )
    return peak.per_s


def beside(tell: Tell, at: Gateway, peak_per_s: float, times: Sequence[float]) -> None:
    """A quiet tenant beside a noisy one."""
    quiet = _crowd(QUIET, _QUIET_PER_S, 1)
    (alone,) = at.under(quiet)
    tell(f"quiet alone: {_served(alone)}, p99 {alone.p99_ms:.0f} ms")
    for each in times:
        found, noisy = at.under(quiet, _crowd(NOISY, each * peak_per_s))
        tell(
            f"beside {each:g}x: {_beside(found, alone)}; noisy {noisy.per_s:.0f}/s, {_ends(noisy)}"
        )


def sick(tell: Tell, seconds: float, kind: str) -> None:
    """One project that is sick, and the others of its region."""
    others = _crowd(QUIET, _OTHERS_PER_S, 4)
    with gateway(seconds, kind) as at:
        (alone,) = at.under(others)
        found, ill = at.under(others, _crowd(SICK, _SICK_PER_S, 4))
    tell(f"{kind:>5}: others {_beside(found, alone)}; the sick one {_ends(ill)}")


def main(*arguments: str) -> None:
    seconds = 3.0 if "--quick" in arguments else 8.0
    begun, tell = time.monotonic(), partial(print, flush=True)
    with gateway(seconds) as at:
        peak_per_s = flood(tell, at, (1.5, 5, 10))
        tell("a quiet tenant, and no limit on the noisy one")
        beside(tell, at, peak_per_s, (1.5, 5))
    limit = {"metric": "requests", "per_second": 100, "burst": 100}
    with gateway(seconds, limits=[limit]) as at:
        tell("a quiet tenant, and 100 calls a second for the noisy one")
        beside(tell, at, peak_per_s, (1.5, 5))
    tell("one project is sick")
    for kind in SICKNESSES:
        sick(tell, seconds, kind)
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    tell(f"took {time.monotonic() - begun:.0f} s; load of the machine {load}")


if __name__ == "__main__":
    main(*sys.argv[1:])
