"""What all reports share: which projects a call may be about, and the reading of their lists."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from msgspec import Struct

from gateway.clock import Clock
from gateway.protection.fleet import Fleet, ProjectRef, View
from gateway.protection.lists import WantedList
from gateway.rpc.call import Call
from gateway.rpc.identity import project_of

Row = TypeVar("Row")

_LONGEST_S: Final = 120.0
"""Of a call that has no deadline."""
_ANSWER_S: Final = 0.5
"""Of a call that has one, for working the answer out and sending it."""
_AT_ONCE: Final = 500
"""Rows in one message of a stream."""


class ProtectionReads(Struct, frozen=True):
    """One per process."""

    fleet: Fleet
    clock: Clock

    def refs(self, call: Call, named: Iterable[str], field: str = "projects") -> list[ProjectRef]:
        """The projects that a call is about; without any that are named in `field`, all of the
        tenant's.

        Raises PROJECT_DENIED.
        """
        assert call.principal is not None
        principal = call.principal
        chosen = [
            project_of(principal, project, f"{field}[{index}]", "all of them")
            for index, project in enumerate(named)
        ]
        found = {
            p.key: ProjectRef(p.key, p.id, p.region) for p in chosen or principal.tenant.projects
        }
        return sorted(found.values(), key=attrgetter("key"))

    def views(
        self, call: Call, refs: Sequence[ProjectRef], wanted: Sequence[WantedList]
    ) -> AsyncGenerator[View, None]:
        """Each project as soon as it is read, by RPCs that the call's own declares: their
        permissions were checked with its own.
        """
        catalog = self.fleet.reader.catalog
        for each in wanted:
            assert catalog.asked_by(each.request).rpc in call.binding.reads_by, each.name
        return self.fleet.views(refs, wanted, self.time_left(call))

    async def all_views(
        self, call: Call, refs: Sequence[ProjectRef], wanted: Sequence[WantedList]
    ) -> list[View]:
        """In the order of the projects."""
        found = [view async for view in self.views(call, refs, wanted)]
        return sorted(found, key=lambda view: view.ref.key)

    def time_left(self, call: Call) -> float:
        """For reading, in seconds."""
        if call.time_left_s is None:
            return _LONGEST_S
        left_s = call.time_left_s - (self.clock.monotonic() - call.started)
        return min(max(left_s - _ANSWER_S, left_s / 2), _LONGEST_S)


def duration_s(request: Any, name: str, default_s: float) -> float:  # noqa: ANN401 - any request
    """A duration of the request, in seconds."""
    if not request.HasField(name):
        return default_s
    return float(getattr(request, name).ToNanoseconds() / 1e9)


def parts(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    """What goes into one message of a stream each."""
    return (rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE))
