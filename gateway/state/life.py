"""Which data these are, how old they are, and what the clock beside them says."""

from typing import Protocol


class Life(Protocol):
    """Of the data in the store."""

    async def epoch(self) -> str:
        """Names this life of the data.

        Another value than before: what was stored may be lost, so recount before anything may grow.

        After the data were lost, `begin` raises StoreDown until this was called, so that nobody
        reserves on empty counters unawares.
        """
        ...

    async def age_s(self) -> float:
        """For how long, at least, these data have been kept since the store was empty; infinite for
        one that only this process could have emptied.
        """
        ...

    async def told(self, process: str) -> None:
        """A process has told these data anew what it has sent."""
        ...

    async def silence_s(self) -> float:
        """For how long these data may lack what a process has sent, because they came back without
        their last writes and it has not told them anew; infinite where nothing may be missing.
        """
        ...

    async def time(self) -> float | None:
        """The store's clock, in seconds since 1970; None where it has none but this machine's."""
        ...
