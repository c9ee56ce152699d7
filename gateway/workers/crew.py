"""All workers of one gateway: their places, what they work by, and what they tell together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from gateway.admin.probes import Finding
from gateway.metrics.merged import Metric, ended
from gateway.reload import Read
from gateway.workers.child import NotStarted
from gateway.workers.fork_server import ForkServer
from gateway.workers.link import Gone
from gateway.workers.part import Part
from gateway.workers.place import Configured, Place

_CHECKED_S: Final = 1.5
_KILLED_S: Final = 5.0


class Crew:
    """`changed` is told when a worker begins or ends to serve.

    All processes are started together, and the first worker begins once there is a store; the
    others follow when it serves, so that a mistake is told once.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        forks: ForkServer,
        read: Read,
        stall_s: float,
        store: asyncio.Event,
    ) -> None:
        """`store`: set while there is one."""
        self._now = Configured(1, read)
        self.changed: Callable[[], None] = lambda: None
        self._ended: list[Metric] = []
        self._configuring: set[asyncio.Task[None]] = set()
        self.first_serves = asyncio.Event()
        self.places = [
            Place(
                part,
                forks,
                stall_s,
                self.first_serves if number else store,
                configured=lambda: self._now,
                changed=self._note,
                kept=self._keep,
            )
            for number, part in enumerate(parts)
        ]

    def _note(self) -> None:
        if self.serving:
            self.first_serves.set()
        self.changed()

    def _keep(self, samples: Sequence[Metric]) -> None:
        self._ended = ended([self._ended, samples])

    @property
    def serving(self) -> int:
        """How many."""
        return len(self.taking)

    @property
    def taking(self) -> list[Place]:
        """Those that take calls."""
        return [place for place in self.places if place.serving]

    @property
    def services(self) -> Sequence[str]:
        """The names of those that are served."""
        return next((place.services for place in self.places if place.services), ())

    @property
    def replaced(self) -> int:
        return sum(place.keeper.replaced for place in self.places)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The work of keeping all, which fails with NotStarted; the rest is killed on leaving."""
        keeping = asyncio.create_task(self._run())
        try:
            yield keeping
        finally:
            keeping.cancel()
            for place in self.places:
                place.kill()
            await asyncio.gather(keeping, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILLED_S):
                    await self._all_ended()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for each in self.places:
                    group.create_task(each.run())
        except BaseExceptionGroup as failed:
            if (told := failed.subgroup(NotStarted)) is None:
                raise
            raise told.exceptions[0] from None

    def configure(self, read: Read) -> None:
        """Has all work by it, also those that begin later."""
        self._now = Configured(self._now.generation + 1, read)
        for place in self.places:
            task = asyncio.create_task(place.configure())
            self._configuring.add(task)
            task.add_done_callback(self._configuring.discard)

    def tell(self, order: str) -> None:
        for place in self.places:
            place.tell(order)

    async def drain(self, forced: asyncio.Event, within_s: float) -> None:
        """Ends all workers: in order, or what is left of them when forced or out of time."""
        for place in self.places:
            place.drain()
        waiting = asyncio.create_task(self._all_ended())
        forcing = asyncio.create_task(forced.wait())
        both = {waiting, forcing}
        await asyncio.wait(both, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            self.tell("force")
            await asyncio.wait({waiting}, timeout=_KILLED_S)
        for task in both:
            task.cancel()

    async def _all_ended(self) -> None:
        await asyncio.gather(*(place.ended() for place in self.places))

    async def samples(self) -> list[Sequence[Metric]]:
        """The metrics of all workers, and of those that there were."""
        await asyncio.gather(*(place.sample() for place in self.places))
        return [self._ended, *(place.samples for place in self.places)]

    async def check(self, name: str) -> Finding:
        """Good where it is for one that takes calls; the text tells of the others."""
        asked = [self._finding(place, name) for place in self.taking]
        found = await asyncio.gather(*asked)
        texts = dict.fromkeys(each.text for each in found if each.text)
        return Finding(good=any(each.good for each in found), text="; ".join(texts))

    async def _finding(self, place: Place, name: str) -> Finding:
        number = place.part.number
        try:
            async with asyncio.timeout(_CHECKED_S):
                found: Mapping[str, Finding] = await place.ask("checks")
        except (Gone, TimeoutError):
            return Finding(good=False, text=f"worker {number} does not answer")
        each = found[name]
        return each if each.good else Finding(good=False, text=f"worker {number}: {each.text}")
