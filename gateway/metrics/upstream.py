"""Calls to CBR and IAM: every attempt, and what stands between them and the next one."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct, field
from prometheus_client.core import Metric

from gateway.metrics.durations import SECONDS, Durations
from gateway.metrics.family import Family
from gateway.metrics.readings import Readings
from gateway.telemetry import TRACE_ID
from gateway.upstream.breaker import Level
from gateway.upstream.breakers import Breakers
from gateway.upstream.budget import Budgets
from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.outcome import Attempt
from gateway.upstream.shares import Shares
from gateway.upstream.target import Target

_HOST: Final = ("host",)
ATTEMPTS: Final = Family(
    "cbr_upstream_attempts_total",
    "counter",
    "Requests to CBR and IAM, repeats included. `outcome`: what the attempt proves (`never_sent`,"
    " `refused`, `ambiguous`, `definite`), or `cancelled`; `status`: of HTTP, empty without an"
    " answer.",
    ("host", "operation", "outcome", "status"),
)
ATTEMPT: Final = Family(
    "cbr_upstream_attempt_seconds",
    "histogram",
    "How long these took, the wait for a connection included. Exemplars: `trace_id`.",
    ("host", "operation"),
)
CHANGES: Final = Family(
    "cbr_changes_total",
    "counter",
    "Changes that have ended: `done`, `nothing` (CBR did not carry it out) or `unknown` (nobody"
    " knows; it may be settled later).",
    ("result",),
)
LAST_CHANGE: Final = Family(
    "cbr_change_last_end_timestamp_seconds",
    "gauge",
    "When a change of this process last ended so; 0 if none has.",
    ("result",),
)
BREAKER: Final = Family(
    "cbr_breaker_open",
    "gauge",
    "1 while everything to a host is held back: at `level` `host` since no connection comes about"
    " (`traffic`: for reads, writes or IAM), at `endpoint` since most tenants fail.",
    ("level", "host", "traffic"),
)
NARROW: Final = Family(
    "cbr_breakers_open",
    "gauge",
    "How many breakers of one project, operation or object are open.",
    ("level",),
    together="sum",
)
BUDGET: Final = Family(
    "cbr_retry_budget_tokens",
    "gauge",
    "What is left for retries at a host, of 1000; a retry costs 14, or 5 after throttling.",
    _HOST,
    together="min",
)
TOKEN_AGE: Final = Family(
    "cbr_iam_token_age_seconds",
    "gauge",
    "Age of the oldest token of IAM in use, by IAM's host.",
    _HOST,
)
CONNECTIONS: Final = Family(
    "cbr_upstream_connections_in_use",
    "gauge",
    "Connections to a host with a call on them.",
    _HOST,
    together="sum",
)
WAITING: Final = Family(
    "cbr_upstream_connections_waiting",
    "gauge",
    "Calls that wait for one of the connections that their tenant may have.",
    _HOST,
    together="sum",
)
MOST: Final = Family(
    "cbr_upstream_connections_limit",
    "gauge",
    "How many connections a host may have.",
    together="sum",
)
FAMILIES: Final = (
    *(
        ATTEMPTS,
        ATTEMPT,
        CHANGES,
        LAST_CHANGE,
        BREAKER,
        NARROW,
        BUDGET,
        TOKEN_AGE,
        CONNECTIONS,
        WAITING,
        MOST,
    ),
)

_NARROW_LEVELS: Final = (Level.PROJECT, Level.OPERATION, Level.OBJECT)
_STATUS: Final = range(100, 600)
_CANCELLED: Final = "CANCELLED"


class UpstreamParts(Struct, frozen=True):
    """What is looked at. `token_ages`: by the address of IAM."""

    breakers: Breakers
    budgets: Budgets
    shares: Shares
    token_ages: Callable[[], Iterable[tuple[str, float]]]


class _Operation(Struct):
    """What is counted of one operation at one host. `attempts`: by outcome and status."""

    durations: Durations = field(default_factory=lambda: Durations(SECONDS))
    attempts: Counter[tuple[str, int | None]] = field(default_factory=Counter)


class UpstreamMetrics:
    """An UpstreamMeter (`gateway.upstream.meter`), which also looks at what is not told."""

    def __init__(self, readings: Readings) -> None:
        self._operations: dict[tuple[str, str], _Operation] = {}
        self._changes = Counter(dict.fromkeys((each.name for each in ChangeResult), 0))
        self._last_changes = dict.fromkeys(self._changes, 0.0)
        readings.add(self._read)

    def attempted(
        self,
        target: Target,
        attempt: Attempt | None,
        seconds: float,
        *,
        method: str,  # noqa: ARG002 - of an UpstreamMeter
        path: str,  # noqa: ARG002
        resent: int,  # noqa: ARG002
    ) -> None:
        where = target.endpoint, target.operation
        operation = self._operations.get(where)
        if operation is None:
            operation = self._operations[where] = _Operation()
        operation.durations.add(seconds, trace_id=TRACE_ID.get())
        if attempt is None:
            operation.attempts[_CANCELLED, None] += 1
        else:
            operation.attempts[attempt.outcome.name, attempt.status] += 1

    def changed(self, result: ChangeResult) -> None:
        self._changes[result.name] += 1
        self._last_changes[result.name] = time.time()

    def look_at(self, parts: UpstreamParts, readings: Readings) -> None:
        readings.add(lambda: _breakers(parts.breakers))
        readings.add(lambda: _pools(parts))

    def _read(self) -> Iterable[Metric]:
        attempts: Counter[tuple[str, ...]] = Counter()
        operations = list(self._operations.items())
        for (at, operation), each in operations:
            for (outcome, status), count in list(each.attempts.items()):
                attempts[host_of(at), operation, outcome.lower(), _status(status)] += count
        yield ATTEMPTS.total(attempts.items())
        yield ATTEMPT.histogram(
            ((host_of(at), operation), each.durations) for (at, operation), each in operations
        )
        yield CHANGES.total(((name.lower(),), count) for name, count in self._changes.items())
        yield LAST_CHANGE.gauge(((name.lower(),), at) for name, at in self._last_changes.items())


def _breakers(breakers: Breakers) -> Iterable[Metric]:
    yield BREAKER.gauge(
        ((level.value, host_of(endpoint), traffic), float(is_open))
        for level, endpoint, traffic, is_open in breakers.wide()
    )
    narrow = Counter(breakers.narrow_open())
    yield NARROW.gauge(((level.value,), narrow[level]) for level in _NARROW_LEVELS)


def _pools(parts: UpstreamParts) -> Iterable[Metric]:
    yield BUDGET.gauge(((host_of(at),), left) for at, left in parts.budgets.of_endpoints())
    oldest: dict[str, float] = {}
    for address, age_s in parts.token_ages():
        oldest[host_of(address)] = max(age_s, oldest.get(host_of(address), 0.0))
    yield TOKEN_AGE.gauge(((host,), age_s) for host, age_s in oldest.items())
    use = parts.shares.use()
    yield CONNECTIONS.gauge(((host_of(at),), held) for at, held, _ in use)
    yield WAITING.gauge(((host_of(at),), waiting) for at, _, waiting in use)
    yield MOST.one(parts.shares.max_connections)


def _status(status: int | None) -> str:
    return "" if status is None else str(status) if status in _STATUS else "other"


@lru_cache(maxsize=256)
def host_of(address: str) -> str:
    """Host and port of a URL, without user and password."""
    return urlsplit(address).netloc.rpartition("@")[2]
