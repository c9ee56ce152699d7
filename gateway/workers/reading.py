"""The configuration of all workers, read in one place: what is refused here reaches none."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

from gateway import telemetry
from gateway.clock import SystemClock
from gateway.config import Config
from gateway.reload import Read, Reloader
from gateway.snapshots import Snapshots
from gateway.tenants import Current
from gateway.upstream.breakers import Breakers
from gateway.upstream.shares import Shares
from gateway.upstream.transport import open_transport


class Reading:
    """Made of it is what a worker makes of it, so that a mistake is found before."""

    def __init__(self, reloader: Reloader, current: Current) -> None:
        self._reloader, self._current = reloader, current

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, read: Read, load: Callable[[], Config], changed: Callable[[Read], None]
    ) -> AsyncIterator[Self]:
        """Reads it anew until left. `changed` gets each that is another one."""
        (config, _), clock = read, SystemClock()
        async with contextlib.AsyncExitStack() as stack:
            settings = config.upstream.transport
            transport = open_transport(settings)
            stack.push_async_callback(transport.aclose)
            shares = Shares(transport, settings.max_connections)
            snapshots = Snapshots(transport, shares, Breakers(clock, random.random), clock)
            stack.push_async_callback(snapshots.aclose)
            current, last = Current(snapshots.build(*read)), read

            def take(taken: Read) -> None:
                nonlocal last
                telemetry.set_level(taken[0].log)
                if taken != last:
                    changed(taken)
                last = taken

            reloader = Reloader(read, load, snapshots, current, take)
            running = asyncio.create_task(reloader.run())
            try:
                yield cls(reloader, current)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def ask(self) -> None:
        """Read it soon."""
        self._reloader.ask()

    @property
    def version(self) -> str:
        return self._current.snapshot.version

    @property
    def refused(self) -> bool:
        """Whether an older one is in use, since the last was refused, all or in part."""
        return self._reloader.refused

    @property
    def problems(self) -> Sequence[str]:
        """Why."""
        return self._reloader.problems
