"""Retries of one region endpoint may not multiply its load when it is in trouble."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from gateway.upstream.retry import RetryKind

_CAPACITY: Final = 500
_COST: Final[Mapping[RetryKind, int]] = {RetryKind.TRANSIENT: 14, RetryKind.THROTTLED: 5}
_ALWAYS_ALLOWED: Final = 3
_SHARE: Final = 0.1


class RetryBudget:
    """A bucket of tokens that retries spend and first-try successes refill, and a cap on the retries in flight.

    One instance per region endpoint and process; used from one event loop.
    """

    def __init__(self) -> None:
        self.tokens = _CAPACITY
        self._calls = 0
        self._retries = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around a whole call with all its attempts: counts it as in flight."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def first_try_succeeded(self) -> None:
        self.tokens = min(_CAPACITY, self.tokens + 1)

    def take(self, kind: RetryKind) -> bool:
        """True: the retry may happen, its tokens are spent, and `retry_ended` must follow whatever becomes of it."""
        in_flight_limit = max(_ALWAYS_ALLOWED, _SHARE * self._calls)
        if self.tokens < _COST[kind] or self._retries >= in_flight_limit:
            return False
        self.tokens -= _COST[kind]
        self._retries += 1
        return True

    def retry_ended(self) -> None:
        """The retry was answered, failed or given up; its pause counts as part of it."""
        self._retries -= 1
