"""Tells of runs of backup policies that did not come: each once for all replicas.

One replica at a time reads the policies of each project now and then, and compares their times with
the tasks that CBR shows. How far that has come is kept in the store, so that the next process goes
on there: it knows of no run before a policy was first seen, and of none that a change of the policy
or of its vaults may explain.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import policy_pb2, types_pb2, vault_pb2
from msgspec import field

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.schedules.missed import Expected, MissedRun, expected, missed, runs_of
from gateway.schedules.plans import Plan, Progress, plans_of
from gateway.schedules.settings import ScheduleSettings
from gateway.state import Leased, Leases, SingleKeyValue, Slot, StoreDown
from gateway.watch.tracker import TaskTracker

_FIRST_S: Final = 60.0
"""Not at once: a gateway that starts has more urgent things to ask of CBR."""
_LOOK_S: Final = 10.0
_SLOT: Final = Slot("schedules", 1)
_LONGEST_S: Final = 8 * 86_400.0
"""A week, and a day: nobody can say what was meanwhile if nobody looked for longer."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()

OnMissed = Callable[[MissedRun], Awaitable[None]]
"""Has kept it when it returns; where it raises, it is told again."""


class ScheduleWatch(msgspec.Struct):
    """One per process. `projects`: those that are served."""

    settings: ScheduleSettings
    tracker: TaskTracker
    progress: SingleKeyValue
    leases: Leases
    clock: Clock
    projects: Callable[[], Collection[str]]
    on_missed: OnMissed
    _owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    _due_at: dict[str, float] = field(default_factory=dict)
    """When this process is to read a project again, by the monotonic clock."""
    _named: set[str] = field(default_factory=set)
    """Policies that the log has named, since their times cannot be understood."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks until left."""
        looking = asyncio.create_task(self._run()) if self.settings.read_s else None
        try:
            yield
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def _run(self) -> None:
        every_s = self.settings.read_s
        await self.clock.sleep(min(_FIRST_S, every_s))
        while True:
            for project in list(self.projects()):
                now = self.clock.monotonic()
                if now < self._due_at.get(project, now):
                    continue
                if not await self._mine():
                    break
                self._due_at[project] = now + every_s
                await self._looked(project)
            await self.clock.sleep(min(_LOOK_S, every_s))

    async def _mine(self) -> bool:
        """Whether it is this replica that looks."""
        leased = await self.leases.lease(self._owner, [_SLOT], 6 * _LOOK_S)
        return isinstance(leased, Leased)

    async def _looked(self, project: str) -> None:
        try:
            await self._look(project)
        except StoreDown:
            pass
        except KeyError:
            pass  # It was taken out of the configuration just now.
        except GatewayError as problem:
            if not problem.expected:
                log.warning("scheduled runs cannot be read", project=project, cause=str(problem))
        except Exception:
            log.exception("a look for missed runs failed; the next one follows", project=project)

    async def _look(self, project: str) -> None:
        """Raises StoreDown, GatewayError, KeyError, and what `on_missed` raises."""
        asked_at = self.clock.monotonic()
        before = await self._recall(project)
        now = await self.tracker.source.reader.time(project)
        if now is None:
            return
        plans = await self._plans(project)
        progress = before.with_plans(plans, now.latest, self.clock.time())
        runs = [
            run
            for plan in plans
            for run in expected(
                plan, progress.plans[plan.policy], now.earliest, self.settings.grace_s
            )
        ]
        if runs:
            progress = await self._tell(project, runs, progress, asked_at)
        await self._keep(project, progress)

    async def _plans(self, project: str) -> list[Plan]:
        reader = self.tracker.source.reader
        policies = await reader.rows(policy_pb2.ListPoliciesRequest(), policy_pb2.Policy, project)
        if not policies:
            return []
        vaults = await reader.rows(vault_pb2.ListVaultsRequest(), types_pb2.Vault, project)
        return list(plans_of(policies, vaults, self._unclear))

    def _unclear(self, policy: str) -> None:
        if policy not in self._named:
            self._named.add(policy)
            log.warning(
                "the times of a policy cannot be understood; nobody hears of a run that is missed",
                policy=policy,
            )

    async def _tell(
        self, project: str, runs: Sequence[Expected], progress: Progress, asked_at: float
    ) -> Progress:
        """Tells of those that did not come; the progress after that."""
        since_us = int(min(run.since for run in runs) * 1e6)
        tasks, whole = await self.tracker.since(project, since_us, asked_at)
        if not whole:
            return progress  # One that cannot be read may be the run that is looked for.
        came = runs_of(tasks)
        for run in runs:
            if (left := missed(project, run, came)) is not None:
                await self.on_missed(left)
                left.warn()
            progress = progress.told(run.plan.policy, run.due)
            if left is not None:
                await self._keep(project, progress)
        return progress

    async def _keep(self, project: str, progress: Progress) -> None:
        await self.progress.put(_key(project), msgspec.msgpack.encode(progress))

    async def _recall(self, project: str) -> Progress:
        """Raises StoreDown."""
        stored = await self.progress.get(_key(project))
        if stored:
            try:
                found = msgspec.msgpack.decode(stored, type=Progress)
            except msgspec.DecodeError:
                log.warning("how far missed runs were told cannot be read", project=project)
            else:
                if self.clock.time() - found.made < _LONGEST_S:
                    return found
        return Progress(self.clock.time())


def _key(project: str) -> str:
    return f"schedules {project}"
