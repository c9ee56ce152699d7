"""Who counts what goes to the cloud."""

from typing import Protocol

from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.outcome import Attempt
from gateway.upstream.target import Target


class UpstreamMeter(Protocol):
    """Takes next to no time, and raises nothing."""

    def attempted(self, target: Target, attempt: Attempt | None, seconds: float) -> None:
        """One request has ended; None: it was cut short."""
        ...

    def changed(self, result: ChangeResult) -> None:
        """A change has ended."""
        ...


class NoUpstreamMeter:
    """Counts nothing."""

    def attempted(self, target: Target, attempt: Attempt | None, seconds: float) -> None: ...

    def changed(self, result: ChangeResult) -> None: ...
