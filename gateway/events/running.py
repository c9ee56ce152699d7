"""The events of one process: who tells them, and who delivers them."""

import asyncio
import contextlib
import ipaddress
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import TYPE_CHECKING

import structlog

from gateway.background import in_background
from gateway.changes.ends import Listener, TaskEnd
from gateway.changes.ledger import AnyOperation
from gateway.clock import Clock
from gateway.events.changes import ChangeEvents
from gateway.events.delivery import Delivery
from gateway.events.limits import LimitEvents
from gateway.events.log import EventLog
from gateway.events.publisher import Publisher
from gateway.events.schedules import schedule_missed
from gateway.events.settings import EventSettings
from gateway.events.sink_queues import SinkQueues
from gateway.events.tasks import task_ended
from gateway.limits.limits import Limits, Scope
from gateway.renewal import Renewable
from gateway.rpc.call import Call
from gateway.schedules.missed import MissedRun
from gateway.state import OperationView, State, Store
from gateway.upstream.change_observer import ChangeResult

if TYPE_CHECKING:
    from gateway.events.webhook import Webhook

log: structlog.stdlib.BoundLogger = structlog.get_logger()

InForce = Callable[[], tuple[Limits, Sequence[Scope]]]


class Events:
    """Where nobody hears of events, nothing is done."""

    def __init__(self, settings: EventSettings, store: Store, clock: Clock) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._owner = uuid.uuid4().hex
        self.pending = SinkQueues(settings, store.queues, clock)
        self.log = EventLog(settings, store.queues, clock)
        self._publisher = Publisher(self.log, self.pending)
        self._on = self._publisher.on
        self._changes = ChangeEvents(self._publisher, store.operations, settings.source, clock)

    def listeners(self) -> list[Listener]:
        """Of ends of tasks."""
        return [self._task_ended] if self._on else []

    def call_failed(self, call: Call) -> None:
        """Hears of every call that ended with an error."""
        try:
            if self._on:
                self._changes.failed(call)
        except Exception:
            log.exception("the end of a call could not be told")

    def change_ended(self, op: AnyOperation, result: ChangeResult) -> None:
        """Hears of the end of every change, and of what is learnt of it later."""
        if not self._on:
            return
        if result is ChangeResult.UNKNOWN:
            self._changes.doubtful(op.id)
        elif isinstance(op, OperationView) and op.state in {State.SENT, State.UNKNOWN}:
            self._changes.settled(op, carried_out=result is ChangeResult.DONE)

    async def schedule_missed(self, run: MissedRun, tenant: str) -> None:
        """Hears of runs of policies that did not come. `tenant`: whose project it is."""
        if self._on:
            await self._publisher.put(schedule_missed(run, self._settings.source, tenant))

    @contextlib.asynccontextmanager
    async def running(
        self, in_force: InForce, renew: Callable[[Renewable], None] = lambda _: None
    ) -> AsyncIterator[None]:
        """Delivers until left. `renew` is told what files sinks have read.

        Raises OSError for a file of a sink that cannot be read.
        """
        webhooks = await in_background(self._webhooks)
        for certificates in filter(None, (each.certificates() for each in webhooks)):
            renew(certificates)
        deliveries = self._deliveries(webhooks)
        tasks: list[asyncio.Task[None]] = []
        if self._on:
            limits = LimitEvents(
                self._publisher,
                self._store.counters,
                self._store.leases,
                self._owner,
                self._settings.source,
                self._clock,
                in_force,
            )
            runs = (
                self.log.run(),
                self._changes.run(),
                limits.run(),
                *(each.run() for each in deliveries),
            )
            tasks = [asyncio.create_task(each) for each in runs]
        try:
            yield
        finally:
            await _ended(tasks)

    def _webhooks(self) -> "list[Webhook]":
        if not self._settings.sinks:
            return []
        from gateway.events.webhook import (  # noqa: PLC0415 - its library is loaded where it is used
            Webhook,
        )

        allowed = [ipaddress.ip_network(each) for each in self._settings.allowed_networks]
        return [Webhook(sink, allowed, self._clock) for sink in self._settings.sinks]

    def _deliveries(self, webhooks: "list[Webhook]") -> list[Delivery]:
        leases, owner, clock = self._store.leases, self._owner, self._clock
        return [
            Delivery(sink, self.pending, webhook, leases, owner, clock)
            for sink, webhook in zip(self._settings.sinks, webhooks, strict=True)
        ]

    async def _task_ended(self, end: TaskEnd) -> None:
        await self._publisher.put(task_ended(end, self._settings.source, self._clock.time()))


async def _ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels again what is not over: a library may lose it while it connects."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=1)
