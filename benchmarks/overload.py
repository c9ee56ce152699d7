"""The gateway under more than it can do, and beside what is sick: `make soak-load`.

Calls come as often as they come, answered or not (open loop), each with a deadline of a second; the
gateway has one core, callers, CBR's stub and an Envoy before the gateway the other. The peak is
what a closed loop gets. Where callers keep the stub from its core, or others the gateway, it
answers less than it could; so what it answers for each second of its CPU is told beside it, as a
share of the same at the peak.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final, Self

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks import envoy, processes
from benchmarks.load import cpu_s_of
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
_FEW_STREAMS: Final = {"max_concurrent_streams": 8, "max_pending_requests": 512}
"""What holds floods off without a proxy (docs/operations.md)."""
_BEHIND_ENVOY: Final = {"max_pending_requests": 1024}
"""As deploy/examples/envoy.yaml says."""
_UNBOUNDED: Final = 10_000
"""Calls in flight on a connection: more than a server allows, as of those who do not mind."""
_KEPT_TO: Final = 256
"""What Envoy allows; it cuts connections with more."""


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

    served: processes.Server
    callers: processes.Servant
    seconds: float
    in_flight: int
    """On one connection of the noisy ones, at most."""

    def under(self, *crowds: Crowd, seconds: float = 0) -> list[Ended]:
        order = Order(list(crowds), seconds or self.seconds)
        return msgspec.json.decode(
            self.callers.obey(msgspec.json.encode(order).decode()), type=list[Ended]
        )

    def flood(self, crowd: Crowd) -> tuple[Ended, float]:
        """And how many were answered for each second of the gateway's CPU."""
        before = cpu_s_of(self.served.pid)
        (found,) = self.under(crowd)
        return found, found.answered / max(1e-9, cpu_s_of(self.served.pid) - before)

    def peak(self) -> tuple[Ended, float]:
        return self.flood(_crowd(NOISY, 0, in_flight=_CLOSED))

    def noise(self, per_s: float) -> Crowd:
        return _crowd(NOISY, per_s, in_flight=self.in_flight)


@contextmanager
def gateway(
    seconds: float,
    *sick: str,
    limits: Sequence[Mapping[str, Any]] = (),
    bounds: Mapping[str, int] | None = None,
    behind_envoy: bool = False,
) -> Iterator[Gateway]:
    """`sick`: what is wrong with the project of that tenant. `limits`: those of the noisy one.
    `bounds`: those of the server that are not the usual ones.
    """
    wrong = [f"{_project(SICK)}={kind}" for kind in sick]
    noisy = {**_tenant(NOISY), "limits": list(limits)}
    server = processes.configuration("", "auto")["server"] | {"limits": dict(bounds or {})}
    sections = {"tenants": [_tenant(QUIET), noisy, _tenant(SICK)], "server": server}
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.module("stub", *wrong, core=LOAD_CORE) as stub,
        processes.gateway(Path(folder), stub.address, "auto", sections) as served,
        (
            envoy.before(Path(folder), served, LOAD_CORE) if behind_envoy else nullcontext(served)
        ) as entry,
        processes.servant("open_loop", entry.address, core=LOAD_CORE) as callers,
    ):
        yield Gateway(served, callers, seconds, _KEPT_TO if behind_envoy else _UNBOUNDED)


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
    ends = sorted(ended.ends.items()) + [("held", ended.held)] * bool(ended.held)
    return " ".join(f"{end}:{count}" for end, count in ends if end != "0")


def _served(ended: Ended) -> str:
    return f"{ended.answered}/{ended.sent} ({ended.answered / max(1, ended.sent):.1%})"


def _beside(found: Ended, alone: Ended) -> str:
    times = found.p99_ms / max(1e-9, alone.p99_ms)
    return f"{_served(found)}, p50 {found.p50_ms:.0f} p99 {found.p99_ms:.0f} ms = {times:.1f}x"


def flood(tell: Tell, at: Gateway, times: Sequence[float]) -> float:
    """More calls than can be answered, of one tenant; the peak."""
    peak, for_cpu = at.peak()
    tell(f"peak {peak.per_s:.0f}/s, p99 {peak.p99_ms:.0f} ms")
    tell("   times  goodput  of CPU  p50 ms  p99 ms   typed  prompt  health failed  ends")
    for each in times:
        with Probes(at.served.health) as probes:
            found, of_cpu = at.flood(at.noise(each * peak.per_s))
        (after,) = at.under(_crowd(QUIET, _QUIET_PER_S, 1), seconds=2.5)
        tell(
            f"{each:>8g}{found.per_s / peak.per_s:>9.0%}{of_cpu / for_cpu:>8.0%}"
            f"{found.p50_ms:>8.0f}{found.p99_ms:>8.0f}{_typed(found):>8.1%}{found.prompt:>8.1%}{probes.failed:>8}/{probes.asked:<6}"
            f" {_ends(found)}; then {_served(after)}, p99 {after.p99_ms:.0f} ms"
        )
    return peak.per_s


def beside(tell: Tell, at: Gateway, peak_per_s: float, times: Sequence[float]) -> None:
    """A quiet tenant beside a noisy one."""
    quiet = _crowd(QUIET, _QUIET_PER_S, 1)
    (alone,) = at.under(quiet)
    tell(f"quiet alone: {_served(alone)}, p99 {alone.p99_ms:.0f} ms")
    for each in times:
        found, noisy = at.under(quiet, at.noise(each * peak_per_s))
        tell(
            f"beside {each:g}x: {_beside(found, alone)}; noisy {noisy.per_s:.0f}/s, {_ends(noisy)}"
        )


def sick(tell: Tell, seconds: float, kind: str) -> None:
    """One project that is sick, and the others of its region."""
    others = _crowd(QUIET, _OTHERS_PER_S, 4)
    with gateway(seconds, kind) as at:
        (alone,) = at.under(others)
        found, ill = at.under(others, _crowd(SICK, _SICK_PER_S, 4))
    tell(f"one project is sick, {kind}: others {_beside(found, alone)}; the sick one {_ends(ill)}")


def ways() -> Iterator[tuple[str, Callable[..., AbstractContextManager[Gateway]]]]:
    """In which a gateway can meet a flood."""
    yield "the usual bounds", gateway
    yield "few streams", partial(gateway, bounds=_FEW_STREAMS)
    if envoy.program() is not None:
        yield "behind Envoy", partial(gateway, bounds=_BEHIND_ENVOY, behind_envoy=True)


def main(*arguments: str) -> None:
    """`--quick`: with little time for each. Others: the parts that are wanted."""
    seconds = 3.0 if "--quick" in arguments else 8.0
    wanted = [each for each in arguments if each != "--quick"]
    begun, tell = time.monotonic(), partial(print, flush=True)
    limit = {"metric": "requests", "per_second": 100, "burst": 100}
    for name, way in ways():
        if wanted and name not in wanted:
            continue
        with way(seconds) as at:
            tell(f"{name}: a flood")
            peak_per_s = flood(tell, at, (1.5, 5, 10))
            tell(f"{name}: a quiet tenant, and no limit on the noisy one")
            beside(tell, at, peak_per_s, (1.5, 5))
        with way(seconds, limits=[limit]) as at:
            tell(f"{name}: a quiet tenant, and 100 calls a second for the noisy one")
            beside(tell, at, peak_per_s, (1.5, 5))
    for kind in SICKNESSES:
        if not wanted or kind in wanted:
            sick(tell, seconds, kind)
    load = Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    tell(f"took {time.monotonic() - begun:.0f} s; load of the machine {load}")


if __name__ == "__main__":
    main(*sys.argv[1:])
