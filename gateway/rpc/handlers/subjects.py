"""Whom a limit may be for, and whose use is above it."""

import difflib
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from msgspec import Struct

from gateway.clock import Clock
from gateway.errors import GatewayError, field_invalid
from gateway.limits.limits import Kind, Level, Limit, Scope, day_of
from gateway.limits.pricing import Pricer
from gateway.upstream.amounts import Metric

_NOBODY: Final = {
    Level.ACCOUNT: "no project of this gateway has such a credential",
    Level.TENANT: "this gateway has no such tenant",
    Level.PROJECT: "no tenant of this gateway has such a project",
    Level.PRINCIPAL: "no tenant of this gateway has such a caller; callers are written tenant/name",
}
_UNITS: Final = {
    Metric.VAULTS: "vaults",
    Metric.POLICIES: "policies",
    Metric.CAPACITY_GIB: "GiB of vaults",
    Metric.GROWTH_GIB_PER_DAY: "GiB of new vaults and growth today",
    Metric.CHECKPOINTS_PER_DAY: "checkpoints today",
    Metric.REPLICATIONS_PER_DAY: "replications today",
}
"""Of the metrics whose use may be above a limit."""
_SHOWN: Final = 12
_COUNT_S: Final = 5.0
"""How long an answer waits for what was never counted."""


class Subjects(Struct, frozen=True):
    """One per process.

    `known`: those of a level, in the configuration in force. `scopes`: whose limits projects count
    towards.
    """

    pricer: Pricer
    known: Callable[[Level], Collection[str]]
    scopes: Callable[[], Collection[Scope]]
    clock: Clock

    def check(self, limit: Limit) -> None:
        """Raises FIELD_INVALID for a subject that nobody is: the limit would hold nobody."""
        if not limit.subject or limit.subject in (known := self.known(limit.level)):
            return
        near = difflib.get_close_matches(limit.subject, known, n=1)
        names = ", ".join(sorted(known)[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        hint = f"did you mean {near[0]}?" if near else f"known: {names}"
        raise field_invalid("limit.subject", f"{_NOBODY[limit.level]}; {hint}", "subject")

    async def count(self, limit: Limit) -> None:
        """Has what a new limit is on counted, as far as that can be done soon. Raises StoreDown."""
        if limit.kind is not Kind.STOCK or limit.metric is Metric.MEMBERS_PER_BACKUP:
            return
        ends_at = self.clock.monotonic() + _COUNT_S
        for scope in self.scopes():
            subject = scope.subject(limit.level)
            if limit.subject in {"", subject}:
                with suppress(GatewayError):
                    left_s = ends_at - self.clock.monotonic()
                    key = limit.key(subject)
                    await self.pricer.recounter.ensure([key], scope.project, left_s)

    async def above(self, limit: Limit) -> list[str]:
        """Whose use is above the limit, as far as it is counted. Raises StoreDown."""
        if limit.kind not in {Kind.STOCK, Kind.VOLUME} or limit.metric is Metric.MEMBERS_PER_BACKUP:
            return []
        part = day_of(self.clock.time())[0] if limit.kind is Kind.VOLUME else ""
        subjects = [limit.subject] if limit.subject else self.known(limit.level) or [""]
        names = {limit.key(subject, part): subject for subject in subjects}
        found = await self.pricer.counters.usage(list(names))
        return [
            f"limit.value {limit.value} is below what {f'{subject} uses' if subject else 'all use'}"
            f": {used} {_UNITS[limit.metric]}. Nothing is taken away; nothing grows until less is"
            " used."
            for key, subject in sorted(names.items())
            if (used := found[key].committed + found[key].reserved) > limit.value
        ]
