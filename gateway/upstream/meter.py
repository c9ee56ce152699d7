"""Who counts and traces what goes to the cloud."""

from typing import Protocol

from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.outcome import Attempt
from gateway.upstream.target import Target


class UpstreamMeter(Protocol):
    """Takes next to no time, and raises nothing."""

    def attempted(
        self,
        target: Target,
        attempt: Attempt | None,
        seconds: float,
        *,
        method: str,
        path: str,
        resent: int,
    ) -> None:
        """One request has ended; None: it was cut short.

        `path`: with the names of its variables. `resent`: how many went before it for the same
        call.
        """
        ...

    def changed(self, result: ChangeResult) -> None:
        """A change has ended."""
        ...


class NoUpstreamMeter:
    """Counts nothing."""

    def attempted(
        self,
        target: Target,
        attempt: Attempt | None,
        seconds: float,
        *,
        method: str,
        path: str,
        resent: int,
    ) -> None: ...

    def changed(self, result: ChangeResult) -> None: ...
