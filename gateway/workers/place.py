"""One worker as its parent has it: started, configured, watched, replaced."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from msgspec import Struct

from gateway.metrics.merged import Metric
from gateway.reload import Read
from gateway.workers.child import Child, Ended, Keeper, end_of
from gateway.workers.fork_request import Request
from gateway.workers.fork_server import ForkServer, NotForked
from gateway.workers.link import Answers, Gone, Link
from gateway.workers.part import Part, Start, own_config

_LOOK_S: Final = 1.0
_SAMPLES_EVERY: Final = 5
"""Looks. What a worker counts between the last one and its end by a crash is not counted."""
_STUCK_S: Final = 30.0
"""How long the event loop of a worker may stand still before it is replaced."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Configured(Struct, frozen=True):
    """What all workers are to work by. `generation`: grows with every reload."""

    generation: int
    read: Read

    def of(self, part: Part) -> Read:
        config, files = self.read
        return own_config(config, part), files


@dataclass(slots=True)
class Place:
    """`forks`: whom to ask for processes; `may_begin`: until then a process that has been started
    waits. `configured`: what is in force. `changed` is told when the worker begins or ends to
    serve; `kept` gets the last metrics of one that has ended.
    """

    part: Part
    forks: ForkServer
    stall_s: float
    may_begin: asyncio.Event
    configured: Callable[[], Configured]
    changed: Callable[[], None]
    kept: Callable[[Sequence[Metric]], None]
    keeper: Keeper = field(init=False)
    services: Sequence[str] = ()
    samples: Sequence[Metric] = ()
    """As last read."""
    _process: Child | None = None
    _link: Link | None = None
    _generation: int = 0
    _begun: bool = False
    _served: bool = False
    _answers: bool = False
    _problem: str = ""
    _configuring: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.keeper = Keeper(f"worker {self.part.number}")

    @property
    def serving(self) -> bool:
        return self._served and self._answers

    @property
    def alive(self) -> bool:
        return self._process is not None and not self._process.ended

    async def run(self) -> None:
        """Keeps a worker in this place. Raises NotStarted."""
        await self.keeper.run(self._once)

    async def _once(self) -> Ended:
        self._problem, self._begun, self._served = "", False, False
        try:
            self._process, mine = await self.forks.start(Request("worker", self.keeper.name))
        except NotForked as problem:
            return Ended(str(problem), str(problem))
        process = self._process
        answers: Answers = {"start": self._start, "serving": self._serves, "failed": self._failed}
        self._link = Link(answers)
        await self._link.open(mine)
        watching = asyncio.create_task(self._watch())
        try:
            await process.wait()
        finally:
            watching.cancel()
            process.kill()
            served = self._left()
        how = end_of(process.code)
        unsaid = f"a worker has ended before it served: {how}; its log may have why"
        return Ended(how, None if served else self._problem or unsaid)

    def _left(self) -> bool:
        """Whether the worker that has ended had come to serve."""
        served, self._served, self._answers = self._served, False, False
        assert self._link is not None
        self._link.close()
        self._link = None
        self.kept(self.samples)
        self.samples = ()
        self.changed()
        return served

    async def _start(self) -> Start:
        await self.may_begin.wait()
        self._begun = True
        now = self.configured()
        return Start(self.part, now.generation, now.of(self.part))

    async def _serves(self, generation: int, services: Sequence[str]) -> None:
        self._generation, self.services = generation, services
        self._served = self._answers = True
        self.changed()
        await self.configure()

    async def _failed(self, problem: str) -> None:
        self._problem = problem

    async def configure(self) -> None:
        """Has the worker work by what is in force. One that cannot is replaced."""
        async with self._configuring:
            while self._served and self._generation != (now := self.configured()).generation:
                wanted = now.read[0].version
                try:
                    found = await self.ask("configure", now.of(self.part))
                except Gone:
                    found = ""
                if found != wanted:
                    log.error(
                        "a worker does not take the configuration over and is replaced",
                        number=self.part.number,
                        wanted=wanted,
                        found=found,
                    )
                    self.tell("drain")
                    return
                self._generation = now.generation

    async def ask(self, name: str, *given: object) -> Any:  # noqa: ANN401 - each question has its own
        """Raises Gone."""
        if self._link is None:
            raise Gone("there is no worker now")
        return await self._link.ask(name, *given)

    def tell(self, name: str) -> None:
        if self._link is not None:
            self._link.tell(name)

    def drain(self) -> None:
        """Ends it in order, once it has anything to bring in order."""
        self.keeper.ending = True
        if self._begun:
            self.tell("drain")
        else:
            self.kill()

    async def ended(self) -> None:
        """Waits for the end of the worker, if there is one."""
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def sample(self) -> None:
        """Reads its metrics, if it answers."""
        if self.serving:
            with contextlib.suppress(Gone, TimeoutError):
                async with asyncio.timeout(self.stall_s):
                    self.samples = await self.ask("samples")

    async def _watch(self) -> None:
        heard_at, looks = time.monotonic(), 0
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._served:
                heard_at = time.monotonic()
                continue
            answered = False
            with contextlib.suppress(Gone, TimeoutError):
                async with asyncio.timeout(self.stall_s):
                    await self.ask("alive")
                    answered = True
            heard_at = time.monotonic() if answered else heard_at
            if answered != self._answers:
                self._answers = answered
                self.changed()
            if time.monotonic() - heard_at > _STUCK_S:
                log.error("a worker stands still and is replaced", number=self.part.number)
                self.kill()
            looks += 1
            if looks % _SAMPLES_EVERY == 0:
                await self.sample()
