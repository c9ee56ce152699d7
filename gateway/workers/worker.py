"""The process of one worker: a gateway whose configuration, end and probes are its parent's."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.admin.probes import Finding
from gateway.app import App
from gateway.audit.lock import Unusable
from gateway.background import in_background
from gateway.config import Config
from gateway.loops import loop_factory
from gateway.metrics.merged import Metric
from gateway.process import Wishes, serve
from gateway.reload import Read
from gateway.rpc.port import AddressInUse
from gateway.signals import Signals
from gateway.state import StoreDown
from gateway.state.owner_address import OwnerAddress
from gateway.tenants.keys import FileKeys
from gateway.way import ProcessRole
from gateway.workers.link import Gone, Link

if TYPE_CHECKING:
    from gateway.workers.part import Start


class Worker:
    """What the parent asks of a worker that serves, and tells it."""

    def __init__(self) -> None:
        self._app: App | None = None
        self._wishes: Wishes | None = None
        self._drained = False
        self.link = Link(
            {
                "alive": self._alive,
                "configure": self._configure,
                "samples": self._samples,
                "view": self._view,
                "checks": self._checks,
                "renew": self._renew,
                "drain": self._drain,
                "force": self._force,
            }
        )
        self._read: Read | None = None

    async def run(self, mine: socket.socket, signals: Signals) -> None:
        """Serves until told to end, or until the parent has gone."""
        await self.link.open(mine)
        start: Start = await self.link.ask("start")
        self._read, part = start.read, start.part
        owner = OwnerAddress(part.owner, part.workers) if part.owner is not None else None
        role = ProcessRole(part.number, owner, self._key_files)

        def ready(app: App) -> None:
            self._app = app
            self.link.tell("serving", start.generation, list(app.catalog.services()))

        orphaned = asyncio.create_task(self._orphaned())
        try:
            await serve(self._config(), ready, self._config, signals, role=role, wished=self._take)
        except (AddressInUse, Unusable, StoreDown) as problem:
            with contextlib.suppress(Gone):
                await self.link.ask("failed", str(problem))
            raise SystemExit(1) from problem
        finally:
            orphaned.cancel()

    async def _orphaned(self) -> None:
        await self.link.lost.wait()
        await self._drain()

    def _take(self, wishes: Wishes) -> None:
        self._wishes = wishes
        if self._drained:
            wishes.drain()

    def _config(self) -> Config:
        assert self._read is not None
        config, _ = self._read
        return config

    def _key_files(self, _config: Config) -> Mapping[str, FileKeys]:
        """As the parent has read them."""
        assert self._read is not None
        _, files = self._read
        return files

    async def _alive(self) -> None:
        """The event loop goes on."""

    async def _configure(self, read: Read) -> str:
        """The version that is in use then."""
        assert self._app is not None
        assert self._app.reloader is not None
        self._read = read
        await self._app.reloader.reload()
        return self._app.current.snapshot.version

    async def _samples(self) -> list[Metric]:
        assert self._app is not None
        return await in_background(self._app.observed.samples)

    async def _view(self, name: str, given: Sequence[Any]) -> Any:  # noqa: ANN401 - as the page
        from gateway.workers.console import answered  # noqa: PLC0415 - where there is one

        assert self._app is not None
        view = self._app.observed.view
        assert view is not None
        return await in_background(lambda: answered(view, name, given))

    async def _checks(self) -> dict[str, Finding]:
        assert self._app is not None
        return {name: await check() for name, check in self._app.observed.checks.items()}

    async def _renew(self) -> None:
        if self._app is not None:
            self._app.renewals.ask()

    async def _drain(self) -> None:
        self._drained = True
        if self._wishes is not None:
            self._wishes.drain()

    async def _force(self) -> None:
        await self._drain()
        if self._wishes is not None:
            self._wishes.forced.set()


def main(descriptor: int, signals: Signals) -> None:
    mine = socket.socket(fileno=descriptor)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            runner.run(Worker().run(mine, signals))
        except Gone:
            sys.exit(1)
