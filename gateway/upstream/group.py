"""The breaker of many: it opens only for what most of its members suffer from, and lets each of them prove that it does not.

A member is a caller of an endpoint (a tenant), an operation of a project, or an object of an operation. What counts is not how many calls
fail but of how many different targets: each target has one vote, the outcome of its last call. So an object, an operation, a project or a
tenant that fails alone, however often it is called, opens only its own breaker.

While a group is open, each member is asked for by itself: one that has not failed may try at once, one that has failed after a pause of its
own, one call each and few together. So nobody's failures take the turn of another, and who succeeds is let through. Three successes close it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.clock import Clock
from gateway.upstream.breaker import PROBES, Level, Pause, Traffic, Verdict, Window, note_closed, note_opened
from gateway.upstream.target import Target

_HEARD_S: Final = 5.0
_MIN_TARGETS: Final = 3
_SHARE_OF_MEMBERS: Final = 0.9
_MAX_VOTES: Final = 64
_BETWEEN_PROBES_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Kind:
    """What a group is of. `member` and `across` name parts of a target: the group opens when several of each fail."""

    level: Level
    member: Callable[[Target], str]
    across: Callable[[Target], str]
    members: int = 2
    others: int = 2


ENDPOINT: Final = Kind(Level.ENDPOINT, lambda target: target.tenant, lambda target: target.operation)
IAM_ENDPOINT: Final = Kind(Level.ENDPOINT, lambda target: target.tenant, lambda target: target.operation, others=1)
PROJECT: Final = Kind(Level.PROJECT, lambda target: target.operation, lambda target: target.object)
OPERATION: Final = Kind(Level.OPERATION, lambda target: target.object, lambda target: target.object)


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """Leave to make one call; give it to `settle` exactly once."""

    epoch: int
    target: Target
    probe: bool


@dataclass(slots=True, eq=False)
class _Vote:
    at: float
    failed: bool


class Group:
    """The breaker of one endpoint, project or operation."""

    def __init__(self, kind: Kind, name: str, clock: Clock, random: Callable[[], float]) -> None:
        self.kind = kind
        self._name = name
        self._clock = clock
        self._pause = Pause(random)
        self._window = Window()
        self._votes: OrderedDict[Target, _Vote] = OrderedDict()
        self._read_at = -Pause.MEAN_S
        self._open = False
        self._epoch = 0
        self._proved = 0
        self._not_before: OrderedDict[str, float] = OrderedDict()
        """When members that have failed may be tried again, while it is open."""
        self._next_probe_at = 0.0
        self._well: set[str] = set()
        """Members that have succeeded since it opened."""
        self._probing: set[str] = set()

    @property
    def is_open(self) -> bool:
        return self._open

    def retry_after_s(self, target: Target) -> float:
        """Seconds until a call of this member may be let through; 0 when it may be tried now."""
        not_before = max(self._not_before.get(self.kind.member(target), 0.0), self._next_probe_at) if self._open else 0.0
        return max(0.0, not_before - self._clock.monotonic())

    def acquire(self, target: Target, traffic: Traffic) -> Pass | None:
        """Leave for one call, or None while the member has to wait."""
        now = self._clock.monotonic()
        member = self.kind.member(target)
        reads_lately = now - self._read_at < Pause.MEAN_S
        if traffic is not Traffic.WRITE:
            self._read_at = now
        if not self._open or member in self._well:
            return Pass(self._epoch, target, probe=False)
        # A change that is tried could end in doubt, so of members that have failed only reads are tried where there are any.
        unwanted = traffic is Traffic.WRITE and member in self._not_before and (reads_lately or bool(self._probing))
        if unwanted or member in self._probing or len(self._probing) >= PROBES or self.retry_after_s(target) > 0:
            return None
        self._probing.add(member)
        return Pass(self._epoch, target, probe=True)

    def settle(self, leave: Pass, verdict: Verdict) -> None:
        """Reports the end of a call. What was begun in an earlier state is not counted in this one."""
        if leave.epoch != self._epoch:
            return
        failed = verdict is Verdict.FAILURE
        if self._open:
            if leave.probe:
                self._probing.discard(self.kind.member(leave.target))
            if verdict in {Verdict.SUCCESS, Verdict.FAILURE}:
                self._prove(self.kind.member(leave.target), failed=failed)
        elif verdict in {Verdict.SUCCESS, Verdict.FAILURE}:
            self._count(leave.target, failed=failed)

    def _count(self, target: Target, *, failed: bool) -> None:
        now = self._clock.monotonic()
        self._votes[target] = _Vote(now, failed)
        self._votes.move_to_end(target)
        if len(self._votes) > _MAX_VOTES:
            self._votes.popitem(last=False)
        if self._window.count(now, failed=failed) and failed and (failing := self._failing(now)):
            self._open_for(failing, now)

    def _failing(self, now: float) -> set[str]:
        """The members that fail, if they are enough to speak for all; else none."""
        heard = {target: vote for target, vote in self._votes.items() if now - vote.at <= _HEARD_S}
        targets = [target for target, vote in heard.items() if vote.failed]
        well = {self.kind.member(target) for target, vote in heard.items() if not vote.failed}
        failing = {self.kind.member(target) for target in targets} - well
        enough = len(targets) >= _MIN_TARGETS and len(failing) >= self.kind.members
        spread = len({self.kind.across(target) for target in targets if self.kind.member(target) in failing}) >= self.kind.others
        return failing if enough and spread and len(failing) >= _SHARE_OF_MEMBERS * len(failing | well) else set()

    def _prove(self, member: str, *, failed: bool) -> None:
        now = self._clock.monotonic()
        if failed:
            self._well.discard(member)
            self._not_before[member] = now + self._pause.length_s()
            self._next_probe_at = now + _BETWEEN_PROBES_S
            if len(self._not_before) > _MAX_VOTES:
                self._not_before.popitem(last=False)
            return
        self._well.add(member)
        self._not_before.pop(member, None)
        self._proved += 1
        if self._proved >= PROBES:
            self._begin(is_open=False)
            note_closed(self._name)

    def _open_for(self, failing: set[str], now: float) -> None:
        pause_s = self._pause.length_s()
        self._begin(is_open=True)
        self._not_before.update(dict.fromkeys(failing, now + pause_s))
        note_opened(self._name, pause_s)

    def _begin(self, *, is_open: bool) -> None:
        """A new state, in which nothing is known of any member."""
        self._open = is_open
        self._epoch += 1
        self._next_probe_at = 0.0
        self._proved = 0
        for known in (self._not_before, self._well, self._probing, self._votes):
            known.clear()
        self._window.clear()
