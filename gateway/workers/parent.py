"""The parent of workers: it starts them, answers for them, drains them and ends."""

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from wsgiref.types import WSGIApplication

import structlog

from gateway import telemetry
from gateway.admin.port import METRICS, VERSION, admin_port
from gateway.admin.probes import Check, Finding, Probes, configuration_in_use
from gateway.admin.version import version_page
from gateway.background import in_background, on_loop
from gateway.config import Config
from gateway.metrics.merged import Metric
from gateway.metrics.workers import Merged, WorkersParts
from gateway.process import warn
from gateway.rpc.health import Health
from gateway.rpc.port import held_port
from gateway.rpc.server import HealthServer
from gateway.secret import Secret
from gateway.signals import Signals
from gateway.snapshots import key_files
from gateway.way import PAGE_TOKEN_KEY_BYTES
from gateway.workers.child import NotStarted
from gateway.workers.crew import Crew
from gateway.workers.fork_server import ForkServer
from gateway.workers.part import Part, modules_of
from gateway.workers.reading import Reading
from gateway.workers.store_owner import StoreOwner

_MARGIN_S: Final = 10.0
"""What a busy machine may take beyond the settings until workers have drained."""
_SCRAPE_S: Final = 10.0
_CHECKS: Final = ("store", "audit")
"""What workers are asked for."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def serve_workers(config: Config, load: Callable[[], Config], signals: Signals) -> None:
    """As `process.serve`, with `config.server.workers` processes that take the calls.

    Raises AddressInUse and NotStarted.
    """
    telemetry.configure(config.log)
    ended, forced = asyncio.Event(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        parent = await _made(stack, config, load)
        hearing = signals.heard_on(
            asyncio.get_running_loop(),
            lambda: forced.set() if ended.is_set() else ended.set(),
            parent.reload,
        )
        stack.enter_context(hearing)
        await parent.serve(stack, ended)
        log.info("draining")
        await parent.drain(forced)
    log.info("stopped")


async def _made(
    stack: contextlib.AsyncExitStack, config: Config, load: Callable[[], Config]
) -> "_Parent":
    """Raises AddressInUse and NotStarted."""
    address = held_port(stack, config.server.listen)
    http = held_port(stack, config.http.listen) if config.http.listen is not None else None
    probes = stack.enter_context(contextlib.ExitStack())
    for each in filter(None, (config.server.health_listen, config.admin.listen)):
        held_port(probes, each)
    forks, embedded = ForkServer(modules_of(config)), config.state.kind == "sqlite"
    owner = StoreOwner(config, own_folder(stack), forks) if embedded else None
    key = Secret(secrets.token_hex(PAGE_TOKEN_KEY_BYTES))
    count, socket = config.server.workers, owner.socket if owner else None
    parts = [Part(n, count, address, http, socket, key) for n in range(1, count + 1)]
    read = config, await in_background(lambda: key_files(config))
    store = owner.listening if owner else asyncio.Event()
    if owner is None:
        store.set()
    crew = Crew(parts, forks, read, config.server.stall_s, store)
    reading = await stack.enter_async_context(Reading.running(read, load, crew.configure))
    return _Parent(config, probes, forks, crew, owner, reading)


def own_folder(stack: contextlib.ExitStack | contextlib.AsyncExitStack) -> Path:
    """Of this gateway alone. Raises NotStarted."""
    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cbr-gateway-")))
    except OSError as error:
        raise NotStarted(
            "server.workers needs a folder for temporary files that it may write to, such as an"
            f" emptyDir at /tmp, or another one that TMPDIR names: {error.strerror}"
        ) from error


@dataclass(slots=True)
class _Parent:
    """One per gateway. `ports`: of probes, held until there is something to say."""

    config: Config
    ports: contextlib.ExitStack
    forks: ForkServer
    crew: Crew
    owner: StoreOwner | None
    reading: Reading
    health: Health | None = None
    draining: bool = False

    def reload(self) -> None:
        self.reading.ask()
        self.crew.tell("renew")

    async def serve(self, stack: contextlib.AsyncExitStack, ended: asyncio.Event) -> None:
        """Until ended. Raises NotStarted and AddressInUse."""
        ending = asyncio.create_task(ended.wait())
        stack.callback(ending.cancel)
        failing = [await stack.enter_async_context(self.forks.running())]
        if self.owner is not None:
            failing.append(await stack.enter_async_context(self.owner.running()))
        failing.append(await stack.enter_async_context(self.crew.running()))
        await _first_of(ending, failing, self.crew.first_serves)
        if ended.is_set():
            return
        await self._answer(stack)
        await _first_of(ending, failing, ended)

    async def _answer(self, stack: contextlib.AsyncExitStack) -> None:
        """Opens the ports of probes, now that there is something to say."""
        self.health = health = Health(self.crew.services, self.config.server.stall_s)
        port = HealthServer(health)
        self.ports.close()
        address = port.bind(self.config.server.health_listen)
        port.start()
        stack.push_async_callback(port.stop)
        health.start()
        stack.callback(health.end)
        self.crew.changed = self._announce
        self._announce()
        version = self.reading.version
        probes = Probes(asyncio.get_running_loop(), lambda: not health.stalled, self._checks())
        pages = {VERSION: version_page(lambda: self.reading.version)}
        if self.config.metrics.enabled:
            pages[METRICS] = self._metrics().page()
        if self.config.admin.console:
            pages |= self._console(probes)
        admin = await stack.enter_async_context(admin_port(self.config.admin, probes, pages))
        first = self.crew.places[0].part
        known = {name: at for name, at in (("http", first.http), ("admin", admin)) if at}
        log.info(
            "serving",
            address=first.address,
            health=address,
            workers=len(self.crew.places),
            config=version,
            audit=self.config.audit.kind,
            **known,
        )
        warn(self.config)

    def _console(self, probes: Probes) -> Mapping[str, WSGIApplication]:
        from gateway.workers.console import (  # noqa: PLC0415 - its library is loaded where it is used
            console,
        )

        return console(self.crew, self.reading, probes.found).routes()

    def _announce(self) -> None:
        if self.health is not None:
            serving = self.crew.serving > 0 and not self.draining
            if serving != self.health.serving:
                self.health.announce(serving=serving)

    async def drain(self, forced: asyncio.Event) -> None:
        """Ends the workers as `process.serve` ends."""
        self.draining = True
        self._announce()
        server = self.config.server
        await self.crew.drain(forced, server.drain_delay_s + 2 * server.drain_grace_s + _MARGIN_S)

    def _checks(self) -> dict[str, Check]:
        async def serving() -> Finding:
            count, most = self.crew.serving, len(self.crew.places)
            text = f"{count} of {most} workers" + ", draining" * self.draining
            return Finding(good=count > 0 and not self.draining, text=text)

        async def configuration() -> Finding:
            return configuration_in_use(self.reading.version, refused=self.reading.refused)

        def of_workers(name: str) -> Check:
            return lambda: self.crew.check(name)

        own: dict[str, Check] = {"serving": serving, "configuration": configuration}
        return own | {name: of_workers(name) for name in _CHECKS}

    def _metrics(self) -> Merged:
        loop = asyncio.get_running_loop()

        def parts() -> Iterable[Sequence[Metric]]:
            return on_loop(loop, self.crew.samples(), _SCRAPE_S)

        own = WorkersParts(
            serving=lambda: self.crew.serving,
            replaced=self._replaced,
            reload_refused=lambda: self.reading.refused,
        )
        return Merged(own, parts)

    def _replaced(self) -> Mapping[str, int]:
        """How many processes, by what they are."""
        own = [self.forks.keeper, *([self.owner.keeper] if self.owner is not None else ())]
        return {"worker": self.crew.replaced, **{each.name: each.replaced for each in own}}


async def _first_of(
    ending: "asyncio.Task[Any]", failing: Sequence["asyncio.Task[None]"], event: asyncio.Event
) -> None:
    """Returns when the event is set, or the end was asked for. Raises what has failed."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({ending, waiting, *failing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    for task in failing:
        if task.done():
            task.result()
