"""A submission whose tasks are looked for, and what those that were seen come to."""

import msgspec
from msgspec import field

from gateway.changes import correlation
from gateway.changes.claims import Claims, Entry
from gateway.changes.correlation import Claim, Finding
from gateway.changes.record import Note
from gateway.changes.search import age_s, found_at, gone
from gateway.changes.settings import TaskSettings
from gateway.clock import Clock
from gateway.upstream.task_search import Task


class Sought(msgspec.Struct):
    """Looked for since `began` by the monotonic clock.

    `seen`: tasks that may be its own, newest rows. `own`: what it claims, by `entry`; None before
    its first look, when any task may be its own. `stage`: how old it was when it was last judged.
    `listed`: what it is judged by must have been listed after this, by the monotonic clock.
    """

    id: str
    began: float
    entry: Entry | None = None
    own: Claim | None = None
    seen: dict[str, Task] = field(default_factory=dict)
    stage: tuple[bool, bool] | None = None
    listed: float = 0.0


class Judge(msgspec.Struct, frozen=True):
    """Of one project's submissions."""

    project: str
    claims: Claims
    clock: Clock
    settings: TaskSettings

    def is_older(self, each: Sought) -> bool:
        """Whether what was not listed until now is judged otherwise than before."""
        return (
            each.entry is not None
            and each.stage is not None
            and each.stage != self._stage(each, each.entry)
        )

    def has_news(self, each: Sought, entry: Entry) -> bool:
        """Where no task fits, no other change matters."""
        return (
            bool(each.seen)
            or self.claims.reader.catalog[entry.op.rpc].traits.gone is not None
            or each.stage != self._stage(each, entry)
        )

    async def judge(self, each: Sought, entry: Entry) -> bool:
        """Notes what is found of it. False: the store has forgotten it.

        Raises GatewayError, StoreDown, and KeyError for a project that is not served.
        """
        settled, given_up = each.stage = self._stage(each, entry)
        finding = await self._find(each, entry, settled=settled, given_up=given_up)
        note = entry.note or Note(correlation.CORRELATING, entry.search)
        if (finding.state, finding.task_ids) == (note.state, note.task_ids) and not finding.final:
            return True
        found = found_at(self.claims.reader, self.project) if finding.final else 0.0
        newer = msgspec.structs.replace(
            note, state=finding.state, task_ids=finding.task_ids, found_at=found
        )
        operations = self.claims.operations
        # Where the note was not taken, another replica knew more: the next look tells.
        return (
            await operations.note(each.id, newer.packed(), entry.op.note)
            or await operations.get(each.id) is not None
        )

    def _stage(self, each: Sought, entry: Entry) -> tuple[bool, bool]:
        """Whether CBR will list nothing more of it, and whether nobody waits any longer."""
        watched_s = self.clock.monotonic() - each.began
        age = max(age_s(self.claims.reader, entry.trace, watched_s), watched_s)
        return age >= self.settings.settle_s, age >= self.settings.give_up_s

    async def _find(self, each: Sought, entry: Entry, *, settled: bool, given_up: bool) -> Finding:
        reader = self.claims.reader
        own = each.own = entry.claim(reader.clock(self.project))
        others = (
            []
            if own.search.proven
            else list(self.claims.others(self.project, entry.op, each.seen.values()))
        )
        found = correlation.hits(own, each.seen.values(), others)
        if settled and not found.tasks and await gone(reader, entry.op.rpc, entry.trace):
            # It left no task that CBR lists.
            given_up = True
        return correlation.judge(own, found, settled=settled, given_up=given_up)
