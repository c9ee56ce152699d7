"""Tasks that CBR does not show although it answers for others: why, when each is asked for again,
and from when on nobody should wait for it.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from msgspec import Struct

from gateway.errors import GatewayError
from gateway.reasons import REASONS

_LOOKS: Final = 2
"""How often a task must be refused before nobody waits: a server that lags may answer once."""


Failures: TypeAlias = dict[str, GatewayError]
"""Why tasks could not be read, by id."""


def refuses(failure: GatewayError) -> bool:
    """Whether repeating alone does not help."""
    return REASONS[failure.reason].lasting


class Unreadable(Struct, frozen=True):
    """One task.

    Moments by the monotonic clock. `given_up`: it was refused, or has failed for too long; asked
    for again only if somebody names it.

    `asked`: somebody named it, or it was known to be open, so that it was read by itself. `listed`:
    CBR lists it, in a row that cannot be understood.
    """

    failure: GatewayError
    since: float
    looks: int
    ask_at: float
    given_up: bool
    asked: bool
    listed: bool


class UnreadableTasks:
    """Those of one project.

    `first_s` and `longest_s`: pauses between two reads of one; after `longest_s` a failure counts
    as final.
    """

    def __init__(self, first_s: float, longest_s: float, capacity: int) -> None:
        self._first_s, self._longest_s, self._capacity = first_s, longest_s, capacity
        self._tasks: dict[str, Unreadable] = {}

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    def items(self) -> Iterator[tuple[str, Unreadable]]:
        return iter(self._tasks.items())

    def get(self, task_id: str) -> Unreadable | None:
        return self._tasks.get(task_id)

    def given_up(self, task_id: str) -> Unreadable | None:
        found = self._tasks.get(task_id)
        return found if found is not None and found.given_up else None

    def is_settled(self, task_id: str, now: float) -> bool:
        """Whether a read for whoever names the task now would come too soon after the last one."""
        found = self._tasks.get(task_id)
        return found is not None and found.asked and (not found.given_up or now < found.ask_at)

    def due(self, now: float) -> list[str]:
        return [
            task_id
            for task_id, each in self._tasks.items()
            if each.asked and not each.given_up and each.ask_at <= now
        ]

    @property
    def waiting(self) -> bool:
        """Whether one of them may still be read."""
        return any(each.asked and not each.given_up for each in self._tasks.values())

    def take(self, asked: Failures, listed: Failures, now: float) -> list[str]:
        """Notes why tasks could not be read by themselves, and why their rows could not; those that
        are new, or given up now.
        """
        told = []
        for task_id, failure in (listed | asked).items():
            before = self._tasks.get(task_id)
            now_is = self._next(
                before, failure, now, asked=task_id in asked, listed=task_id in listed
            )
            self._tasks[task_id] = now_is
            if before is None or now_is.given_up is not before.given_up:
                told.append(task_id)
        for oldest in list(self._tasks)[: max(0, len(self._tasks) - self._capacity)]:
            del self._tasks[oldest]
        return told

    def _next(
        self,
        before: Unreadable | None,
        failure: GatewayError,
        now: float,
        *,
        asked: bool,
        listed: bool,
    ) -> Unreadable:
        since, looks, ask_at = (
            (before.since, before.looks, before.ask_at) if before is not None else (now, 0, now)
        )
        if asked:
            looks += 1
            ask_at = now + min(self._first_s * 2.0 ** min(looks - 1, 16), self._longest_s)
        over = now - since >= self._longest_s or (looks >= _LOOKS and refuses(failure))
        given_up = over or (before is not None and before.given_up)
        return Unreadable(
            failure,
            since,
            looks,
            ask_at,
            given_up,
            asked or (before is not None and before.asked),
            listed,
        )

    def forget(self, task_id: str) -> bool:
        """The task was read, or is known not to exist. Whether it was one of these."""
        return self._tasks.pop(task_id, None) is not None
