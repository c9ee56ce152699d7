"""The life of a gateway's process: started, serving, drained, ended."""

import asyncio
import gc
import os
from collections.abc import Callable
from typing import Any, Final

import structlog

from gateway import telemetry
from gateway.app import App, open_app
from gateway.config import Config
from gateway.signals import Signals
from gateway.state.settings import MEMORY
from gateway.way import ALONE, ProcessRole

_COLLECT_AFTER: Final = (50_000, 20, 20)
"""For Python's garbage collector: with its usual thresholds it walks through all objects of
thousands of streams at each poll.
"""
_STDIN: Final = 0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Wishes:
    """What signals have asked this process for. `task` is the one that starts the gateway.

    Without a configuration to read anew, SIGHUP ends it when its terminal is gone.
    """

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._terminal = os.isatty(_STDIN)
        self.ended, self.forced = asyncio.Event(), asyncio.Event()
        self.given_up = False
        self._task = task
        self._app: App | None = None
        self._reload_due = False

    def end(self) -> None:
        if self._app is None:
            self.given_up = True
            self._task.cancel()
        else:
            (self.forced if self.ended.is_set() else self.ended).set()

    def drain(self) -> None:
        """As `end`, and again as often as one likes."""
        if self._app is not None:
            self.ended.set()
        elif not self.given_up:
            self.end()

    def reload(self) -> None:
        if self._app is None:
            self._reload_due = True
            return
        self._app.renewals.ask()
        if self._app.reloader is not None:
            self._app.reloader.ask()
        elif self._terminal and not os.isatty(_STDIN):
            self.end()
        else:
            log.info("SIGHUP: there is no configuration file to read anew")

    def started(self, app: App) -> None:
        self._app = app
        if self._reload_due:
            self.reload()


async def serve(
    config: Config,
    ready: Callable[[App], None] | None = None,
    load: Callable[[], Config] | None = None,
    signals: Signals | None = None,
    *,
    role: ProcessRole = ALONE,
    wished: Callable[[Wishes], None] = lambda _: None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains; a second signal ends the draining.

    While it starts, the first one ends it.

    `ready` is called once calls can be answered. `wished` gets what signals set, for others who may
    end this process, before it starts. With `load`, SIGHUP and changes in `tenants_dir`
    make it read the configuration anew; without it, SIGHUP ends only what has lost its terminal.
    """
    telemetry.configure(config.log, worker=role.worker)
    task = asyncio.current_task()
    assert task is not None
    wishes = Wishes(task)
    wished(wishes)
    with (signals or Signals()).heard_on(asyncio.get_running_loop(), wishes.end, wishes.reload):
        try:
            async with open_app(config, load, role) as app:
                wishes.started(app)
                _tell(app, config, worker=role.worker is not None)
                if ready is not None:
                    ready(app)
                await wishes.ended.wait()
                log.info("draining")
                await _drain(app, wishes.forced, config.server.drain_grace_s)
        except asyncio.CancelledError:
            if not wishes.given_up:
                raise
            task.uncancel()
        log.info("stopped")


def _tell(app: App, config: Config, *, worker: bool) -> None:
    # What is alive now lives as long as the process; without this, every full collection walks all
    # of it again.
    gc.freeze()
    gc.enable()
    gc.set_threshold(*_COLLECT_AFTER)
    known = {
        "rpcs": len(app.catalog.bindings),
        "config": app.current.snapshot.version,
        "audit": config.audit.kind,
    }
    if app.http_address:
        known["http"] = app.http_address
    if app.admin_address:
        known["admin"] = app.admin_address
    if app.health_address:
        known["health"] = app.health_address
    log.info("serving", address=app.address, **known)
    if not worker:
        warn(config)


def warn(config: Config) -> None:
    """Of what ends with this process."""
    if config.page_token_key is None:
        log.warning(
            "page_token_key is not set: page and resume tokens end with this process, and no other"
            " replica takes them"
        )
    if text := events_lost(config):
        log.warning(text)


def events_lost(config: Config) -> str:
    """A warning, where events for webhooks do not outlive the process."""
    if not config.events.sinks or config.state.kind != "sqlite" or config.state.path != MEMORY:
        return ""
    return (
        'state.path is ":memory:": events that events.sinks have not taken yet, and dead letters,'
        " end with the gateway. Set state.path to a file on a disk that stays, or use a Valkey"
    )


async def _drain(app: App, forced: asyncio.Event, grace_s: float) -> None:
    async def gently() -> None:
        await app.servers.drain(app.hub.end, app.client.release)
        await app.client.aclose(grace_s)

    drain, force = asyncio.create_task(gently()), asyncio.create_task(forced.wait())
    await asyncio.wait({drain, force}, return_when=asyncio.FIRST_COMPLETED)
    for task in (drain, force):
        task.cancel()
    await asyncio.gather(drain, force, return_exceptions=True)
