"""All breakers of the process, in a row from the widest to the narrowest; a call must pass each.

    host        no connection comes about, whatever is asked for
    endpoint    most tenants fail, with several operations
    project     most operations fail that one tenant calls in one project, on several objects
    operation   most objects fail for which it is called in that project; or the operation fails
                that names none
    object      the operation fails on this one object

A call is booked on the narrowest of them that explains it (group.py), so what fails alone is left
alone, and its neighbours are not.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

import msgspec

from gateway.clock import Clock
from gateway.upstream.breaker import Breaker, Level, Permit, Traffic, Verdict
from gateway.upstream.group import ENDPOINT, IAM_ENDPOINT, OPERATION, PROJECT, Group, Kind
from gateway.upstream.target import Target

_MAX_NARROW: Final = 2048
"""Breakers below the endpoints; those called longest ago are forgotten first."""
_OF_HOST: Final = {Verdict.UNREACHABLE: Verdict.FAILURE, Verdict.FAILURE: Verdict.SUCCESS}
_OF_LEAF: Final = {Verdict.UNREACHABLE: Verdict.NOTHING}

_Narrow = TypeVar("_Narrow", Group, Breaker)


class Held(msgspec.Struct, frozen=True):
    """No leave: what has been failing, and when to try again."""

    level: Level
    retry_after_s: float


class Passage(msgspec.Struct, eq=False):
    """Leave of all breakers in the row for one call; `settle` it exactly once."""

    target: Target
    host: Breaker
    permit: Permit
    groups: list[tuple[Group, Permit]]
    leaf: Callable[[Target, Traffic], Breaker]
    """Makes the narrowest breaker, for the first failure."""
    traffic: Traffic
    leaf_permit: Permit | None = None
    """None where there is no such breaker yet."""

    def settle(self, verdict: Verdict) -> None:
        self.host.settle(self.permit, _OF_HOST.get(verdict, verdict))
        for group, permit in self.groups:
            group.settle(permit, self.target, verdict)
        if self.leaf_permit is None and verdict is Verdict.FAILURE:
            self.leaf_permit = self.leaf(self.target, self.traffic).acquire()
        if self.leaf_permit is not None:
            leaf = self.leaf(self.target, self.traffic)
            leaf.settle(self.leaf_permit, _OF_LEAF.get(verdict, verdict))


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
            return Held(Level.HOST, host.retry_after_s())
        passage = Passage(target, host, permit, [], self._leaf, traffic)
        for group in self._groups(target, traffic):
            permit = group.acquire(target, traffic)
            if permit is None:
                passage.settle(Verdict.NOTHING)
                return Held(group.kind.level, group.retry_after_s(target))
            passage.groups.append((group, permit))
        if target in self._narrow:
            leaf = self._leaf(target, traffic)
            passage.leaf_permit = leaf.acquire()
            if passage.leaf_permit is None:
                passage.settle(Verdict.NOTHING)
                return Held(
                    Level.OBJECT if target.object else Level.OPERATION, leaf.retry_after_s()
                )
        return passage

    def wide(self) -> list[tuple[Level, str, str, bool]]:
        """Level, endpoint, traffic, and whether it is open, of each breaker of a whole host."""
        hosts = [
            (Level.HOST, endpoint, traffic.value, each.is_open)
            for (endpoint, traffic), each in list(self._hosts.items())
        ]
        return hosts + [
            (Level.ENDPOINT, endpoint, "all", each.is_open)
            for endpoint, each in list(self._endpoints.items())
        ]

    def narrow_open(self) -> list[Level]:
        """The level of each open breaker of a part of a host."""
        return [
            each.kind.level
            if isinstance(each, Group)
            else Level.OBJECT
            if isinstance(key, Target) and key.object
            else Level.OPERATION
            for key, each in list(self._narrow.items())
            if each.is_open
        ]

    def host(self, endpoint: str, traffic: Traffic) -> Breaker:
        """The keys come from the configuration, so they are few."""
        key = (endpoint, traffic)
        host = self._hosts.get(key)
        if host is None:
            reads = self.host(endpoint, Traffic.READ) if traffic is Traffic.WRITE else None
            host = self._hosts[key] = Breaker(
                f"{traffic.value} {endpoint}", self._clock, self._random, reads
            )
        return host

    def _groups(self, target: Target, traffic: Traffic) -> tuple[Group, ...]:
        endpoint = self._endpoints.get(target.endpoint)
        if endpoint is None:
            kind = IAM_ENDPOINT if traffic is Traffic.IAM else ENDPOINT
            endpoint = self._endpoints[target.endpoint] = self._group(
                kind, f"endpoint {target.endpoint}"
            )
        project = self._kept(target[:3], self._project, target)
        if not target.object:
            return endpoint, project
        return endpoint, project, self._kept(target[:4], self._operation, target)

    def _project(self, target: Target) -> Group:
        return self._group(PROJECT, f"project {target.project} of tenant {target.tenant}")

    def _operation(self, target: Target) -> Group:
        where = f"project {target.project} of tenant {target.tenant}"
        return self._group(OPERATION, f"{target.operation} in {where}")

    def _group(self, kind: Kind, name: str) -> Group:
        return Group(kind, name, self._clock, self._random)

    def _leaf(self, target: Target, traffic: Traffic) -> Breaker:
        name = (
            f"{target.operation} {target.object} in project {target.project} of tenant"
            f" {target.tenant}"
        )
        at_once = 1 if traffic is Traffic.WRITE else 3
        return self._kept(
            target, lambda _: Breaker(name, self._clock, self._random, at_once=at_once), target
        )

    def _kept(self, key: Hashable, make: Callable[[Target], _Narrow], target: Target) -> _Narrow:
        found = self._narrow.get(key)
        if found is not None:
            self._narrow.move_to_end(key)
            return found  # type: ignore[return-value]
        made = self._narrow[key] = make(target)
        if len(self._narrow) > _MAX_NARROW:
            self._narrow.popitem(last=False)
        return made
