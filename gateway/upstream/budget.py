"""Retries may not multiply the load of an endpoint in trouble, and what is sick alone may not use up the retries of the others.

So budgets are nested: a retry is paid for by the object, by the tenant and by the endpoint, and happens only if all three can. What an object
can spend is a part of its tenant's, and what a tenant can spend is a part of the endpoint's.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from gateway.upstream.retry import RetryKind
from gateway.upstream.target import Target

_COST: Final[Mapping[RetryKind, int]] = {RetryKind.TRANSIENT: 14, RetryKind.THROTTLED: 5}
_SHARE: Final = 0.1
_MAX_OBJECTS: Final = 1024


@dataclass(frozen=True, slots=True)
class Size:
    """`tokens` of a full bucket; `at_once`: retries in flight that are always allowed."""

    tokens: int
    at_once: int


OBJECT: Final = Size(tokens=140, at_once=2)
TENANT: Final = Size(tokens=500, at_once=3)
ENDPOINT: Final = Size(tokens=1000, at_once=6)


class RetryBudget:
    """A bucket of tokens that retries spend and first-try successes refill, and a cap on the retries in flight. For one event loop."""

    def __init__(self, size: Size, wider: "RetryBudget | None" = None) -> None:
        self._size = size
        self._wider = wider
        self.tokens = size.tokens
        self._calls = 0
        self._retries = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a whole call with all its attempts: counts it as in flight."""
        self._calls += 1
        try:
            with ExitStack() as stack:
                if self._wider is not None:
                    stack.enter_context(self._wider.call())
                yield
        finally:
            self._calls -= 1

    def first_try_succeeded(self) -> None:
        self.tokens = min(self._size.tokens, self.tokens + 1)
        if self._wider is not None:
            self._wider.first_try_succeeded()

    def take(self, kind: RetryKind) -> bool:
        """True: the retry may happen, its tokens are spent, and `retry_ended` must follow whatever becomes of it."""
        in_flight_limit = max(self._size.at_once, _SHARE * self._calls)
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
    """All budgets of the process. Those of endpoints and tenants are few; of objects, those called longest ago are forgotten."""

    def __init__(self) -> None:
        self._few: dict[tuple[str, ...], RetryBudget] = {}
        self._objects: OrderedDict[Target, RetryBudget] = OrderedDict()

    def of(self, target: Target) -> RetryBudget:
        endpoint = self._few.setdefault((target.endpoint,), RetryBudget(ENDPOINT))
        tenant = self._few.setdefault((target.endpoint, target.tenant), RetryBudget(TENANT, endpoint))
        if not target.object:
            return tenant
        found = self._objects.setdefault(target, RetryBudget(OBJECT, tenant))
        self._objects.move_to_end(target)
        if len(self._objects) > _MAX_OBJECTS:
            self._objects.popitem(last=False)
        return found
