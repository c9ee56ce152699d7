"""Tasks that a test holds in its hands, and streams whose every event is checked for what must
always hold.
"""

import asyncio
import contextlib
from typing import Any

import grpc
from cbrgateway.v1 import task_pb2, task_pb2_grpc

from emulator.settings import PAYMENTS_PROJECT_ID
from emulator.tasks import Outcome, Owner, Task
from emulator.transitions import Mode, Pace
from tests.functional.calls import Failure, failure_of
from tests.harness import World

FAST = {"busy_s": 0.1, "idle_s": 0.2, "backoff_s": 0.3, "linger_s": 0.05}
"""Intervals of the polling in most tests."""
STILL = Pace(Mode.TIME, duration_s=1e6)
"""Tasks stay as they are until a test moves them."""


def start_task(
    world: World,
    kind: str = "backup",
    vault_id: str = "v1",
    resource_id: str = "r1",
    project_id: str = PAYMENTS_PROJECT_ID,
) -> Task:
    """A task that stays open until `end_task`."""
    return world.emulator.state.world.tasks.start(
        kind,
        Owner(project_id, "p", "0", vault_id, "vault"),
        resource={"id": resource_id, "type": "OS::Nova::Server", "name": "server"},
        part=kind,
        details={},
        enter=lambda _status: None,
    )


def end_task(world: World, task: Task, status: str = "success", code: str = "") -> None:
    task.outcome = Outcome(status, code, "text")
    world.emulator.state.world.tasks._finish(task)


def lose_task(world: World, task: Task) -> None:
    """The service does not know it any more."""
    world.emulator.state.world.tasks._active.pop(task.id, None)
    del world.emulator.state.world.tasks.log[task.id]


class Listener:
    """Reads one stream in the background.

    `events` and `kinds` grow; `failure` is set when it ends with an error; `done` when it has
    ended.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self.events: list[task_pb2.WatchTasksResponse] = []
        self.failure: Failure | None = None
        self._revisions: dict[str, int] = {}
        self._news = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for event in self.call:
                self._check(event)
                self.events.append(event)
                self._news.set()
        except grpc.aio.AioRpcError as error:
            self.failure = failure_of(error)
        finally:
            self._news.set()

    def _check(self, event: task_pb2.WatchTasksResponse) -> None:
        assert event.sequence == len(self.events) + 1
        assert event.HasField("observe_time"), event
        assert event.resume_token
        assert event.WhichOneof("event")
        task = task_of(event)
        if task is not None:
            assert task.revision > self._revisions.get(task.id, -1), (
                "a revision came twice or went backwards"
            )
            self._revisions[task.id] = task.revision

    @property
    def kinds(self) -> list[str]:
        return [str(event.WhichOneof("event")) for event in self.events]

    @property
    def token(self) -> str:
        return self.events[-1].resume_token

    def of(self, kind: str) -> list[Any]:
        return [getattr(event, kind) for event in self.events if event.WhichOneof("event") == kind]

    def tasks(self, kind: str) -> list[str]:
        """Ids of the tasks in the events of one kind."""
        return [
            task.id
            for event in self.events
            if event.WhichOneof("event") == kind and (task := task_of(event)) is not None
        ]

    async def until(self, kind: str, count: int = 1, within_s: float = 60) -> Any:
        """The `count`th event of a kind."""
        async with asyncio.timeout(within_s):
            while len(self.of(kind)) < count:
                if self.reading.done():
                    self.reading.result()
                    raise AssertionError(f"the stream ended with {self.kinds} and {self.failure}")
                self._news.clear()
                await self._news.wait()
        return self.of(kind)[count - 1]

    async def read(self, count: int, within_s: float = 60) -> None:
        """Until so many events have come."""
        async with asyncio.timeout(within_s):
            while len(self.events) < count:
                assert not self.reading.done(), f"the stream ended with {self.failure}"
                self._news.clear()
                await self._news.wait()

    async def ended(self, within_s: float = 60) -> "Listener":
        async with asyncio.timeout(within_s):
            await self.reading
        return self

    async def leave(self) -> str:
        """Cuts the stream; the token to go on with."""
        self.call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.reading
        return self.token if self.events else ""


def task_of(event: task_pb2.WatchTasksResponse) -> task_pb2.Task | None:
    match event.WhichOneof("event"):
        case "snapshot_task":
            return event.snapshot_task
        case "update" | "terminal":
            return getattr(event, str(event.WhichOneof("event"))).task  # type: ignore[no-any-return]
    return None


@contextlib.asynccontextmanager
async def watching(
    world: World,
    tenant: str = "payments",
    timeout_s: float | None = 120,
    *,
    channel: Any = None,
    **request: Any,
):
    """A stream of the world's gateway, or of another one on `channel`; cut at the end."""
    stub = task_pb2_grpc.TaskServiceStub(channel or world.channel)
    listener = Listener(
        stub.WatchTasks(
            task_pb2.WatchTasksRequest(**request),
            metadata=world.metadata(tenant),
            timeout=timeout_s,
        )
    )
    try:
        yield listener
    finally:
        await listener.leave()
