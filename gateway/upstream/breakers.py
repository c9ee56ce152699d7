"""All breakers of the process, in a row from the widest to the narrowest; a call must pass each.

    host        no connection comes about, whatever is asked for
    endpoint    most tenants fail, with several operations
    project     most operations fail that one tenant calls in one project, on several objects
    operation   most objects fail for which it is called in that project; or the operation fails that names none
    object      the operation fails on this one object

A call is booked on the narrowest of them that explains it (group.py), so what fails alone is left alone, and its neighbours are not.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from gateway.clock import Clock
from gateway.upstream.breaker import Breaker, Level, Permit, Traffic, Verdict
from gateway.upstream.group import ENDPOINT, IAM_ENDPOINT, OPERATION, PROJECT, Group, Kind, Pass
from gateway.upstream.target import Target

_MAX_NARROW: Final = 2048
"""Breakers below the endpoints; those called longest ago are forgotten first."""
_OF_HOST: Final = {Verdict.UNREACHABLE: Verdict.FAILURE, Verdict.FAILURE: Verdict.SUCCESS}
_OF_LEAF: Final = {Verdict.UNREACHABLE: Verdict.NOTHING}

_Narrow = TypeVar("_Narrow", Group, Breaker)


@dataclass(frozen=True, slots=True)
class Held:
    """No leave: what has been failing, and when to try again."""

    level: Level
    retry_after_s: float


@dataclass(slots=True, eq=False)
class Passage:
    """Leave of all breakers in the row for one call; `settle` it exactly once."""

    host: Breaker
    permit: Permit
    make_leaf: Callable[[], Breaker]
    """The narrowest breaker, which is made by the first failure."""
    leaf: tuple[Breaker, Permit] | None = None
    groups: list[tuple[Group, Pass]] = field(default_factory=list)

    def settle(self, verdict: Verdict) -> None:
        self.host.settle(self.permit, _OF_HOST.get(verdict, verdict))
        for group, leave in self.groups:
            group.settle(leave, verdict)
        if self.leaf is None and verdict is Verdict.FAILURE:
            leaf = self.make_leaf()
            permit = leaf.acquire()
            self.leaf = (leaf, permit) if permit is not None else None
        if self.leaf is not None:
            leaf, permit = self.leaf
            leaf.settle(permit, _OF_LEAF.get(verdict, verdict))


class Breakers:
    """One per process."""

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        self._hosts: dict[tuple[str, Traffic], Breaker] = {}
        self._narrow: OrderedDict[Hashable, Group | Breaker] = OrderedDict()
        self._endpoints: dict[str, Group] = {}

    def enter(self, target: Target, traffic: Traffic) -> Passage | Held:
        """Leave for one call, or what stands against it."""
        host = self.host(target.endpoint, traffic)
        permit = host.acquire()
        if permit is None:
            return Held(Level.ENDPOINT, host.retry_after_s())
        passage = Passage(host, permit, lambda: self._leaf(target, traffic))
        for group in self._groups(target, traffic):
            leave = group.acquire(target, traffic)
            if leave is None:
                passage.settle(Verdict.NOTHING)
                return Held(group.kind.level, group.retry_after_s(target))
            passage.groups.append((group, leave))
        if target in self._narrow:
            leaf = self._leaf(target, traffic)
            permit = leaf.acquire()
            if permit is None:
                passage.settle(Verdict.NOTHING)
                return Held(Level.OBJECT if target.object else Level.OPERATION, leaf.retry_after_s())
            passage.leaf = (leaf, permit)
        return passage

    def host(self, endpoint: str, traffic: Traffic) -> Breaker:
        """The keys come from the configuration, so they are few."""
        key = (endpoint, traffic)
        if key not in self._hosts:
            reads = self.host(endpoint, Traffic.READ) if traffic is Traffic.WRITE else None
            self._hosts[key] = Breaker(f"{traffic.value} {endpoint}", self._clock, self._random, reads)
        return self._hosts[key]

    def _groups(self, target: Target, traffic: Traffic) -> Iterator[Group]:
        where = (target.endpoint, target.tenant, target.project)
        iam = traffic is Traffic.IAM
        if target.endpoint not in self._endpoints:
            self._endpoints[target.endpoint] = self._group(IAM_ENDPOINT if iam else ENDPOINT, f"endpoint {target.endpoint}")
        yield self._endpoints[target.endpoint]
        yield self._kept(where, lambda: self._group(PROJECT, f"project {target.project} of tenant {target.tenant}"))
        if target.object:
            name = f"{target.operation} in project {target.project} of tenant {target.tenant}"
            yield self._kept((*where, target.operation), lambda: self._group(OPERATION, name))

    def _group(self, kind: Kind, name: str) -> Group:
        return Group(kind, name, self._clock, self._random)

    def _leaf(self, target: Target, traffic: Traffic) -> Breaker:
        name = f"{target.operation} {target.object} in project {target.project} of tenant {target.tenant}"
        at_once = 1 if traffic is Traffic.WRITE else 3
        return self._kept(target, lambda: Breaker(name, self._clock, self._random, at_once=at_once))

    def _kept(self, key: Hashable, make: Callable[[], _Narrow]) -> _Narrow:
        found = self._narrow.get(key)
        if found is None:
            found = self._narrow[key] = make()
            if len(self._narrow) > _MAX_NARROW:
                self._narrow.popitem(last=False)
        self._narrow.move_to_end(key)
        return found  # type: ignore[return-value]
