"""What is aimed at: ratios between figures of one run. Arithmetic only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.load import Sample

Rounds = Mapping[tuple[str, str], Sequence[Sample]]
"""(subject, case) -> its samples, one of each round: `("gateway httptools", "get:8")`.

The subjects are those of `benchmarks.plan`.
"""


@dataclass(frozen=True, slots=True)
class Goal:
    """`field` of one figure over `field` of another, at most `limit`."""

    text: str
    subject: tuple[str, str, str]
    against: tuple[str, str, str]
    limit: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a goal. `value` is a ratio, or seconds for the start."""

    text: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit


GATEWAY, EVERYTHING = "gateway httptools", "everything on"
FILE, VALKEY = "limits, file", "limits, Valkey"
_CPU, _CALLER, _P50 = "server_cpu_us", "caller_cpu_us", "p50_ms"
START_LIMIT_S: Final = 0.6

GOALS: Final = (
    Goal(
        "gateway CPU per GetVault / bare grpc.aio echo",
        (GATEWAY, "get:8", _CPU),
        ("echo", "get:8", _CPU),
        3.0,
    ),
    Goal(
        "gateway CPU per GetVault, 1 in flight / bare grpc.aio echo",
        (GATEWAY, "get:1", _CPU),
        ("echo", "get:1", _CPU),
        2.3,
    ),
    Goal(
        "gateway CPU per GetVault, 64 in flight / bare grpc.aio echo",
        (GATEWAY, "get:64", _CPU),
        ("echo", "get:64", _CPU),
        3.5,
    ),
    Goal(
        "gateway CPU per ListVaults / bare grpc.aio echo",
        (GATEWAY, "list:8", _CPU),
        ("echo", "list:8", _CPU),
        6.0,
    ),
    Goal(
        "gateway CPU per CreateVault / bare grpc.aio echo of GetVault",
        (GATEWAY, "create:8", _CPU),
        ("echo", "get:8", _CPU),
        6.5,
    ),
    Goal(
        "gateway CPU per GetVault, everything on / bare grpc.aio echo",
        (EVERYTHING, "get:8", _CPU),
        ("echo", "get:8", _CPU),
        4.3,
    ),
    Goal(
        "gateway CPU per CreateVault, everything on / bare grpc.aio echo of GetVault",
        (EVERYTHING, "create:8", _CPU),
        ("echo", "get:8", _CPU),
        11.0,
    ),
    Goal(
        "gateway CPU per GetVault / naive gateway",
        (GATEWAY, "get:8", _CPU),
        ("naive", "get:8", _CPU),
        0.36,
    ),
    Goal(
        "gateway CPU per GetVault / a direct httpx call in the caller",
        (GATEWAY, "get:8", _CPU),
        ("direct httpx", "get:8", _CALLER),
        0.75,
    ),
    Goal(
        "caller CPU per GetVault, generated client / vendor's SDK",
        ("client sync", "get:1", _CALLER),
        ("vendor SDK", "get:1", _CALLER),
        0.16,
    ),
    Goal(
        "caller CPU per ListVaults, generated client / vendor's SDK",
        ("client sync", "list:1", _CALLER),
        ("vendor SDK", "list:1", _CALLER),
        0.04,
    ),
    Goal(
        "gateway CPU per GetVault, with metrics / without",
        (GATEWAY, "get:8", _CPU),
        ("without metrics", "get:8", _CPU),
        1.05,
    ),
    Goal(
        "gateway CPU per GetVault, limits in a file / no limits",
        (FILE, "get:8", _CPU),
        (GATEWAY, "get:8", _CPU),
        1.3,
    ),
    Goal(
        "gateway CPU per GetVault, limits in a Valkey / no limits",
        (VALKEY, "get:8", _CPU),
        (GATEWAY, "get:8", _CPU),
        2.0,
    ),
    Goal(
        "gateway CPU per CreateVault, limits in a file / no limits",
        (FILE, "create:8", _CPU),
        (GATEWAY, "create:8", _CPU),
        1.8,
    ),
    Goal(
        "gateway CPU per CreateVault, limits in a Valkey / no limits",
        (VALKEY, "create:8", _CPU),
        (GATEWAY, "create:8", _CPU),
        3.0,
    ),
    Goal(
        "gateway CPU per GetVault, audited / not audited",
        ("gateway audited", "get:8", _CPU),
        (GATEWAY, "get:8", _CPU),
        1.3,
    ),
    Goal(
        "gateway CPU per CreateVault, audited / not audited",
        ("gateway audited", "create:8", _CPU),
        (GATEWAY, "create:8", _CPU),
        1.5,
    ),
    Goal(
        "p50 of CreateVault, 1 in flight, audited / not audited",
        ("gateway audited", "create:1", _P50),
        (GATEWAY, "create:1", _P50),
        1.5,
    ),
    Goal(
        "p50 of GetVault, 1 in flight / a direct httpx call",
        (GATEWAY, "get:1", _P50),
        ("direct httpx", "get:1", _P50),
        0.8,
    ),
)


def verdicts(rounds: Rounds, start_s: float) -> list[Verdict]:
    """Each goal with its value, the median of the rounds' ratios.

    Raises KeyError for a figure that was not measured.
    """
    found = [Verdict(goal.text, _ratio(rounds, goal), goal.limit) for goal in GOALS]
    return [
        *found,
        Verdict(
            "start of `cbr-gateway serve` to the first answered call, seconds",
            start_s,
            START_LIMIT_S,
        ),
    ]


def _ratio(rounds: Rounds, goal: Goal) -> float:
    ratios = zip(_values(rounds, goal.subject), _values(rounds, goal.against), strict=True)
    return median(value / against for value, against in ratios)


def _values(rounds: Rounds, of: tuple[str, str, str]) -> list[float]:
    subject, case, field = of
    return [float(getattr(sample, field)) for sample in rounds[subject, case]]
