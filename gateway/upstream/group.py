"""The breaker of many: it opens only for what most of its members suffer from, and lets each of
them prove that it does not.

A member is a caller of an endpoint (a tenant), an operation of a project, or an object of an
operation. What counts is not how many calls fail but of how many different targets: each target
counts once, by its last call. So an object, an operation, a project or a tenant that fails alone,
however often it is called, opens only its own breaker.

While a group is open, each target is asked for by itself: one that has not failed may be tried, one
that has failed after a pause of its own, each tenant has a few tries at a time and not many in a
second. So nobody's failures take the turn of another. A member that succeeds is let through, and so
is a tenant at an endpoint that has not failed there since. Three successes close the group.
"""

from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from typing import Final, TypeVar

from msgspec import Struct

from gateway.clock import Clock
from gateway.upstream.breaker import (
    PROBES,
    Level,
    Pause,
    Permit,
    Traffic,
    Verdict,
    Window,
    note_closed,
    note_opened,
)
from gateway.upstream.target import Target

_HEARD_S: Final = 5.0
_MIN_TARGETS: Final = 3
_SHARE_OF_MEMBERS: Final = 0.9
_REMEMBERED: Final = 64
_BETWEEN_TRIES_S: Final = 0.5

_Key = TypeVar("_Key", Target, str)


class Kind(Struct, frozen=True):
    """What a group is of.

    `member`: the part of a target that fails or is well. `apart`: parts of which several must fail
    before the group opens.
    """

    level: Level
    member: Callable[[Target], str]
    apart: tuple[Callable[[Target], str], ...]


ENDPOINT: Final = Kind(
    Level.ENDPOINT,
    attrgetter("tenant"),
    (attrgetter("tenant"), attrgetter("project"), attrgetter("operation")),
)
IAM_ENDPOINT: Final = Kind(
    Level.ENDPOINT, attrgetter("tenant"), (attrgetter("tenant"), attrgetter("project"))
)
PROJECT: Final = Kind(
    Level.PROJECT, attrgetter("operation"), (attrgetter("operation"), attrgetter("object"))
)
OPERATION: Final = Kind(Level.OPERATION, attrgetter("object"), (attrgetter("object"),))


class Group:
    """The breaker of one endpoint, project or operation."""

    def __init__(self, kind: Kind, name: str, clock: Clock, random: Callable[[], float]) -> None:
        self.kind = kind
        self._name = name
        self._clock = clock
        self._pause = Pause(random)
        self._window = Window()
        self._failed_at: OrderedDict[Target, float] = OrderedDict()
        """What has failed at its last call."""
        self._well_at: OrderedDict[str, float] = OrderedDict()
        """When members have last succeeded."""
        self._read_at = -Pause.MEAN_S
        self._open = False
        self._epoch = 0
        self._proved = 0
        self._not_before: OrderedDict[Target, float] = OrderedDict()
        """When what has failed may be tried again, while it is open."""
        self._next_try: dict[tuple[str, bool], float] = {}
        """When each tenant may try anything again; what is known to have failed (True) does not
        hold up what is not.
        """
        self._well: set[str] = set()
        """Members that have succeeded since it opened."""
        self._trying: set[Target] = set()

    @property
    def is_open(self) -> bool:
        return self._open

    def retry_after_s(self, target: Target) -> float:
        """Seconds until such a call may be let through; 0 when it may be tried now."""
        not_before = max(
            self._not_before.get(target, 0.0),
            self._next_try.get((target.tenant, target in self._not_before), 0.0),
        )
        return max(0.0, not_before - self._clock.monotonic())

    def acquire(self, target: Target, traffic: Traffic) -> Permit | None:
        """Leave for one call, or None while it has to wait."""
        now, read_at = self._clock.monotonic(), self._read_at
        if traffic is not Traffic.WRITE:
            self._read_at = now
        if not self._open or self.kind.member(target) in self._well or self._is_blameless(target):
            return self._epoch
        reads_lately = now - read_at < Pause.MEAN_S
        # A change that is tried could end in doubt, so where calls have failed only reads are
        # tried, if there are any.
        failed = target in self._not_before or (target.tenant, True) in self._next_try
        unwanted = traffic is Traffic.WRITE and failed and (reads_lately or bool(self._trying))
        own = sum(other.tenant == target.tenant for other in self._trying)
        if unwanted or target in self._trying or own >= PROBES or self.retry_after_s(target) > 0:
            return None
        self._trying.add(target)
        return self._epoch

    def _is_blameless(self, target: Target) -> bool:
        """Whether a tenant is not among those by whom an endpoint is judged: there are few, so they
        are let through until they fail.
        """
        known = self._next_try
        return self.kind.level is Level.ENDPOINT and not (
            (target.tenant, True) in known or (target.tenant, False) in known
        )

    def settle(self, permit: Permit, target: Target, verdict: Verdict) -> None:
        """Reports the end of a call.

        What was begun in an earlier state is not counted in this one.
        """
        if permit != self._epoch:
            return
        if self._trying:
            self._trying.discard(target)
        if verdict is Verdict.SUCCESS or verdict is Verdict.FAILURE:
            report = self._prove if self._open else self._count
            report(target, failed=verdict is Verdict.FAILURE)

    def _count(self, target: Target, *, failed: bool) -> None:
        now = self._clock.monotonic()
        if failed:
            _note(self._failed_at, target, now)
        else:
            if self._failed_at:
                self._failed_at.pop(target, None)
            _note(self._well_at, self.kind.member(target), now)
        if self._window.count(now, failed=failed) and failed and (failing := self._failing(now)):
            self._open_for(failing, now)

    def _failing(self, now: float) -> list[Target]:
        """What fails, if it is enough to speak for all; else nothing."""
        well = {member for member, at in self._well_at.items() if now - at <= _HEARD_S}
        failing = [
            target
            for target, at in self._failed_at.items()
            if now - at <= _HEARD_S and self.kind.member(target) not in well
        ]
        members = {self.kind.member(target) for target in failing}
        several = len(failing) >= _MIN_TARGETS and all(
            len({part(target) for target in failing}) > 1 for part in self.kind.apart
        )
        return (
            failing if several and len(members) >= _SHARE_OF_MEMBERS * len(members | well) else []
        )

    def _prove(self, target: Target, *, failed: bool) -> None:
        now = self._clock.monotonic()
        if failed:
            self._next_try[target.tenant, target in self._not_before] = now + _BETWEEN_TRIES_S
            _note(self._not_before, target, now + self._pause.length_s())
            return
        self._well.add(self.kind.member(target))
        self._proved += 1
        if self._proved >= PROBES:
            self._begin(is_open=False)
            note_closed(self._name)

    def _open_for(self, failing: list[Target], now: float) -> None:
        pause_s = self._pause.length_s()
        self._begin(is_open=True)
        for target in failing:
            self._next_try[target.tenant, True] = now
            _note(self._not_before, target, now + pause_s)
        note_opened(self._name, pause_s)

    def _begin(self, *, is_open: bool) -> None:
        """A new state, in which nothing is known of any target."""
        self._open = is_open
        self._epoch += 1
        self._proved = 0
        self._failed_at.clear()
        self._well_at.clear()
        self._not_before.clear()
        self._next_try.clear()
        self._well.clear()
        self._trying.clear()
        self._window.clear()


def _note(times: OrderedDict[_Key, float], key: _Key, time: float) -> None:
    """Remembers a time, and no more of them than matter."""
    times[key] = time
    times.move_to_end(key)
    if len(times) > _REMEMBERED:
        times.popitem(last=False)
