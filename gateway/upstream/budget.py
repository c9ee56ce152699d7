"""Retries may not multiply the load of an endpoint in trouble, and what is sick alone may not use
up the retries of the others.

So budgets are nested: a retry is paid for by the object, by the project, by the tenant and by the
endpoint, and happens only if all of them can. What each can spend is a part of the next one's.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from gateway.upstream.retry import RetryKind
from gateway.upstream.target import Target

_COST: Final[Mapping[RetryKind, int]] = {RetryKind.TRANSIENT: 14, RetryKind.THROTTLED: 5}
_SHARE: Final = 0.1
_MAX_OBJECTS: Final = 1024


class Size(Struct, frozen=True):
    """`tokens` of a full bucket; `at_once`: retries in flight that are always allowed."""

    tokens: int
    at_once: int


OBJECT: Final = Size(tokens=140, at_once=2)
PROJECT: Final = Size(tokens=350, at_once=3)
TENANT: Final = Size(tokens=500, at_once=4)
ENDPOINT: Final = Size(tokens=1000, at_once=6)


class RetryBudget:
    """A bucket of tokens that retries spend and first-try successes refill, and a cap on the
    retries in flight. For one event loop.

    As a context manager it is around a whole call with all its attempts, and counts it as in
    flight.
    """

    def __init__(self, size: Size, wider: "RetryBudget | None" = None) -> None:
        self.size = size
        self._wider = wider
        self.row: tuple[RetryBudget, ...] = (self, *(wider.row if wider is not None else ()))
        """This one and those around it."""
        self.tokens = size.tokens
        self.calls = 0
        self._retries = 0

    def __enter__(self) -> None:
        for each in self.row:
            each.calls += 1

    def __exit__(self, *_: object) -> None:
        for each in self.row:
            each.calls -= 1

    def first_try_succeeded(self) -> None:
        for each in self.row:
            if each.tokens < each.size.tokens:
                each.tokens += 1

    def take(self, kind: RetryKind) -> bool:
        """True: the retry may happen, its tokens are spent, and `retry_ended` must follow."""
        in_flight_limit = max(self.size.at_once, _SHARE * self.calls)
        if self.tokens < _COST[kind] or self._retries >= in_flight_limit:
            return False
        if self._wider is not None and not self._wider.take(kind):
            return False
        self.tokens -= _COST[kind]
        self._retries += 1
        return True

    def retry_ended(self) -> None:
        """The retry was answered, failed or given up; its pause counts as part of it."""
        self._retries -= 1
        if self._wider is not None:
            self._wider.retry_ended()


class Budgets:
    """All budgets of the process.

    Those of endpoints, tenants and projects are few; of objects, those called longest ago are
    forgotten.
    """

    def __init__(self) -> None:
        self._few: dict[tuple[str, ...], RetryBudget] = {}
        self._objects: OrderedDict[Target, RetryBudget] = OrderedDict()

    def of(self, target: Target) -> RetryBudget:
        if not target.object:
            return self._of_project(target)
        found = self._objects.get(target)
        if found is None:
            found = self._objects[target] = RetryBudget(OBJECT, self._of_project(target))
            if len(self._objects) > _MAX_OBJECTS:
                self._objects.popitem(last=False)
        self._objects.move_to_end(target)
        return found

    def of_endpoints(self) -> list[tuple[str, int]]:
        """What is left of each endpoint's tokens."""
        return [(key[0], each.tokens) for key, each in list(self._few.items()) if len(key) == 1]

    def _of_project(self, target: Target) -> RetryBudget:
        key = target.endpoint, target.tenant, target.project
        found = self._few.get(key)
        if found is None:
            endpoint = self._few.setdefault(key[:1], RetryBudget(ENDPOINT))
            tenant = self._few.setdefault(key[:2], RetryBudget(TENANT, endpoint))
            found = self._few[key] = RetryBudget(PROJECT, tenant)
        return found
