"""Which limits there are and which of them apply to a call. Pure: nothing here counts or waits.

metric      what is counted              kind         where the count is kept
requests    cost units per second        RATE         a bucket
concurrent  calls in flight              CONCURRENCY  leases
vaults ...  what exists                  STOCK        a counter that is recounted from CBR
... per day what was asked for that day  VOLUME       a counter that ends at midnight UTC
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from functools import lru_cache
from operator import itemgetter
from typing import Final, Self

import msgspec
from cbrgateway.v1 import options_pb2

from gateway.state import Bucket, Slot
from gateway.upstream.amounts import Metric
from gateway.upstream.declaration import Binding

DAY_S: Final = 86_400
_SCOPES_KEPT: Final = 4096
"""Of callers, for whom it is known which limits they meet."""


class Kind(Enum):
    """How a metric is kept."""

    RATE = "rate"
    CONCURRENCY = "concurrency"
    STOCK = "stock"
    VOLUME = "volume"


KIND_OF: Final[Mapping[Metric, Kind]] = {
    Metric.REQUESTS: Kind.RATE,
    Metric.CONCURRENT_CHANGES: Kind.CONCURRENCY,
    Metric.CONCURRENT_RESTORES: Kind.CONCURRENCY,
    Metric.VAULTS: Kind.STOCK,
    Metric.POLICIES: Kind.STOCK,
    Metric.MEMBERS_PER_BACKUP: Kind.STOCK,
    Metric.CAPACITY_GIB: Kind.STOCK,
    Metric.GROWTH_GIB_PER_DAY: Kind.VOLUME,
    Metric.CHECKPOINTS_PER_DAY: Kind.VOLUME,
    Metric.REPLICATIONS_PER_DAY: Kind.VOLUME,
    Metric.OPEN_STREAMS: Kind.CONCURRENCY,
}


class Level(StrEnum):
    """Whose use is added up. An account is an upstream credential."""

    GLOBAL = "global"
    ACCOUNT = "account"
    TENANT = "tenant"
    PROJECT = "project"
    PRINCIPAL = "principal"


PRIVATE_LEVELS: Final = frozenset({Level.TENANT, Level.PROJECT, Level.PRINCIPAL})
"""Levels whose subjects belong to one tenant; the others are shared, and their use is nobody's
business but an administrator's.
"""


class MethodClass(StrEnum):
    """What a call costs its rate limit."""

    READ = "read"
    LIST = "list"
    CHANGE = "change"
    RESTORE = "restore"


COST: Final[Mapping[MethodClass, int]] = {
    MethodClass.READ: 1,
    MethodClass.LIST: 2,
    MethodClass.CHANGE: 5,
    MethodClass.RESTORE: 10,
}


_PLACES: Final[Mapping[int, tuple[Metric, ...]]] = {
    options_pb2.CONCURRENCY_UNSPECIFIED: (),
    options_pb2.CONCURRENCY_RESTORES: (Metric.CONCURRENT_RESTORES,),
    options_pb2.CONCURRENCY_STREAMS: (Metric.OPEN_STREAMS,),
}


def method_class(binding: Binding) -> MethodClass:
    if binding.heavy:
        return MethodClass.RESTORE
    if binding.reads:
        return MethodClass.LIST if binding.paging else MethodClass.READ
    return MethodClass.CHANGE


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Who calls, at every level. `principal`: tenant and key, `payments/ci`."""

    account: str
    tenant: str
    project: str
    principal: str

    def subject(self, level: Level) -> str:
        return "" if level is Level.GLOBAL else str(getattr(self, level.value))


class Limit(msgspec.Struct, frozen=True):
    """One limit.

    `subject` empty: each subject of the level has this limit for itself. `method_class`: for
    `requests`; None: all calls.

    RATE has `per_second` and `burst`; the other kinds have `value`. A shadow limit is counted and
    logged, and refuses nothing.
    """

    metric: Metric
    level: Level
    subject: str = ""
    value: int = 0
    per_second: float = 0.0
    burst: float = 0.0
    method_class: MethodClass | None = None
    shadow: bool = False

    @property
    def kind(self) -> Kind:
        return KIND_OF[self.metric]

    @property
    def slot(self) -> tuple[Metric, Level, str, MethodClass | None, bool]:
        """Two limits with the same slot replace one another."""
        return self.metric, self.level, self.subject, self.method_class, self.shadow

    @property
    def name(self) -> str:
        """`vaults:tenant:payments`; what overrides and refusals call it by."""
        parts = [self.metric, self.level, self.subject, self.method_class or ""]
        return ":".join(parts).rstrip(":") + ("~shadow" if self.shadow else "")

    def key(self, subject: str, part: str = "") -> str:
        """The counter, bucket or lease of one subject.

        `part`: the backup of its members, or the day.
        """
        return ":".join(
            filter(None, (self.metric, self.level, subject, self.method_class or "", part))
        ) + ("~shadow" if self.shadow else "")


COUNTED: Final = (Metric.VAULTS, Metric.POLICIES, Metric.CAPACITY_GIB)
"""What CBR lists by project.

Each project is counted by itself; every other counter of these adds projects up.
"""


@lru_cache(maxsize=4096)
def project_count(metric: Metric, project: str) -> str:
    """The counter of one project, which a limit on the project is on, too."""
    return Limit(metric, Level.PROJECT).key(project)


STANDING: Final = (Limit(Metric.OPEN_STREAMS, Level.TENANT, value=1000),)
"""Limits that are in force where the configuration sets none in their place: a stream costs memory
for as long as its caller likes.
"""


class Applied(msgspec.Struct, frozen=True):
    """A limit as it meets one caller: with the subject it counts."""

    limit: Limit
    subject: str
    plain_key: str
    """`key` without a part."""

    @classmethod
    def of(cls, limit: Limit, scope: Scope) -> Self:
        subject = scope.subject(limit.level)
        return cls(limit, subject, limit.key(subject))

    def key(self, part: str = "") -> str:
        return self.limit.key(self.subject, part) if part else self.plain_key

    def bucket(self, cost: int) -> Bucket:
        limit = self.limit
        return Bucket(self.plain_key, limit.per_second, limit.burst, cost, limit.shadow)

    def slot(self) -> Slot:
        return Slot(self.plain_key, self.limit.value, self.limit.shadow)


class Limits:
    """All limits in force at one moment; immutable.

    A limit with a subject comes before the general one of its level.
    """

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._all = {limit.slot: limit for limit in limits}
        self._levels: dict[Metric, dict[Level, None]] = {}
        self._of: dict[tuple[Metric, Level, str], list[tuple[int, Limit]]] = {}
        """By what they are on, with their places among all: a caller meets few of many."""
        for place, limit in enumerate(self._all.values()):
            self._levels.setdefault(limit.metric, {})[limit.level] = None
            key = (limit.metric, limit.level, limit.subject)
            self._of.setdefault(key, []).append((place, limit))
        self._known = lru_cache(_SCOPES_KEPT)(self._applied)

    def __iter__(self) -> Iterator[Limit]:
        return iter(self._all.values())

    def overlaid(self, others: Iterable[Limit]) -> "Limits":
        """These limits with others in the place of those that have the same slot."""
        return Limits((self._all | {limit.slot: limit for limit in others}).values())

    def applied(
        self, metric: Metric, scope: Scope, calls: MethodClass | None = None
    ) -> tuple[Applied, ...]:
        """What a caller must keep of one metric: at most one for each level, class and shadow."""
        return self._known(metric, scope, calls)

    def _applied(
        self, metric: Metric, scope: Scope, calls: MethodClass | None
    ) -> tuple[Applied, ...]:
        found: dict[tuple[Level, MethodClass | None, bool], Applied] = {}
        for limit in self._met(metric, scope):
            if limit.method_class in {None, calls}:
                place = (limit.level, limit.method_class, limit.shadow)
                if limit.subject or place not in found:
                    found[place] = Applied.of(limit, scope)
        return tuple(found.values())

    def _met(self, metric: Metric, scope: Scope) -> list[Limit]:
        """Those on a caller's subjects, and the general ones, in the order of all."""
        met: list[tuple[int, Limit]] = []
        for level in self._levels.get(metric, ()):
            for subject in {"", scope.subject(level)}:
                met += self._of.get((metric, level, subject), ())
        return [limit for _, limit in sorted(met, key=itemgetter(0))]

    def rates(self, scope: Scope, calls: MethodClass) -> tuple[Applied, ...]:
        return self._known(Metric.REQUESTS, scope, calls)

    def slots(self, scope: Scope, binding: Binding) -> list[Applied]:
        """The slots that a call takes while it runs."""
        every = () if binding.reads else (Metric.CONCURRENT_CHANGES,)
        return [
            applied
            for metric in (*every, *_PLACES[binding.concurrency])
            for applied in self.applied(metric, scope)
        ]

    def stock(self, scopes: Sequence[Scope]) -> dict[Metric, dict[str, list[Scope]]]:
        """Counters that a listing of the scopes' projects can set.

        metric -> key -> the scopes that count towards it.
        """
        found: dict[Metric, dict[str, list[Scope]]] = {metric: {} for metric in COUNTED}
        for metric in COUNTED:
            for scope in scopes:
                for applied in self.applied(metric, scope):
                    found[metric].setdefault(applied.key(), []).append(scope)
        return found


def day_of(now: float) -> tuple[str, float]:
    """The day in UTC of a time (seconds since 1970), as counters name it, and when it ends."""
    number = int(now // DAY_S)
    return str(number), float((number + 1) * DAY_S)
