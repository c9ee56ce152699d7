"""WatchEvents: the events of a tenant as a stream, through cuts, restarts and other replicas."""

import contextlib
import re
from pathlib import Path
from typing import get_args

import grpc
import pytest
from cbrgateway.v1 import event_service_pb2, event_service_pb2_grpc, task_pb2
from google.protobuf.json_format import MessageToDict

from emulator.server import running_emulator
from emulator.settings import DATABASES_PROJECT_ID, PAYMENTS_PROJECT_ID
from gateway.clock import SystemClock
from gateway.events.log import EventLog
from gateway.events.settings import EventSettings
from gateway.events.types import Outcome, TypeName
from gateway.state import StoreSettings, open_store
from tests.events.scenes import telling
from tests.events.test_delivery import event
from tests.events.test_sources import NONE
from tests.fakes import SteppedClock
from tests.functional.calls import failure_of
from tests.metrics.until import until_true
from tests.state.benches import settings_for
from tests.state.valkey_server import running_valkey
from tests.tasks.works import Scene
from tests.watch.streams import STILL, end_task, start_task

ENDED, LIMIT, MISSED = (
    f"com.cbrgateway.{word}.v1" for word in ("task.ended", "limit.reached", "schedule.missed")
)
Request = event_service_pb2.WatchEventsRequest
Filter = event_service_pb2.EventFilter


class Reader:
    """One stream, read as far as a test wants."""

    def __init__(self, call):
        self._call, self.messages = call, []

    async def next(self, kind="cloud_event"):
        """The next message, which is of that kind."""
        message = await self._call.read()
        assert message.WhichOneof("event") == kind, message
        assert message.sequence == len(self.messages) + 1
        assert message.resume_token
        self.messages.append(message)
        return getattr(message, kind)

    @property
    def token(self):
        return self.messages[-1].resume_token

    async def failure(self):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await self._call.read()
        return failure_of(failed.value)


@contextlib.asynccontextmanager
async def watching(world, tenant="payments", **request):
    stub = event_service_pb2_grpc.EventServiceStub(world.channel)
    call = stub.WatchEvents(Request(**request), metadata=world.metadata(tenant), timeout=60)
    try:
        yield Reader(call)
    finally:
        call.cancel()


async def failed(world, status="failed", **more):
    task = start_task(world, **more)
    end_task(world, task, status)
    return f"task-{task.id}"


async def test_what_happens_comes_as_it_happens_to_its_own_tenant():
    async with (
        running_emulator(pace=STILL) as cloud,
        telling(cloud, EventSettings()) as world,
        watching(world) as ours,
        watching(world, "databases") as theirs,
    ):
        await ours.next("heartbeat")
        await theirs.next("heartbeat")
        first = await failed(world)
        shown = await ours.next()
        other = await failed(world, project_id=DATABASES_PROJECT_ID)
        assert (await theirs.next()).id == other
        second = await failed(world, "success")
        assert (await ours.next()).id == second
    assert (shown.id, shown.type) == (first, "com.cbrgateway.task.ended.v1")
    assert (shown.subject, shown.spec_version) == ("vaults/v1", "1.0")
    assert shown.time.seconds > 1e9
    data = MessageToDict(shown.data)
    assert data["outcome"] == "failed"
    assert data["tenant"] == "payments"
    assert {"type": "vault", "id": "v1"} in data["resources"]


async def test_filters_choose_by_type_outcome_and_project():
    chosen = {
        "outcomes": Filter(outcomes=["succeeded", "refused"]),
        "types": Filter(types=["com.cbrgateway.change.refused.v1"]),
        "projects": Filter(projects=[PAYMENTS_PROJECT_ID], outcomes=["failed"]),
    }
    async with (
        running_emulator(pace=STILL) as cloud,
        telling(cloud, EventSettings(), limits=NONE) as world,
        contextlib.AsyncExitStack() as stack,
    ):
        readers = {}
        for name, wanted in chosen.items():
            readers[name] = await stack.enter_async_context(watching(world, filter=wanted))
            await readers[name].next("heartbeat")
        bad, good = await failed(world), await failed(world, "success")
        assert (await readers["outcomes"].next()).id == good
        with pytest.raises(grpc.aio.AioRpcError):
            await Scene(world).vault(0)
        refused = await readers["types"].next()
        assert refused.type == "com.cbrgateway.change.refused.v1"
        assert (await readers["outcomes"].next()).id == refused.id
        assert (await readers["projects"].next()).id == bad


IMPOSSIBLE = [
    (
        {"types": [LIMIT], "outcomes": ["failed"]},
        "filter.types[0]",
        "Add one to outcomes (reached)",
    ),
    ({"types": [ENDED, LIMIT], "outcomes": ["failed"]}, "filter.types[1]", "remove the type"),
    ({"types": [ENDED], "outcomes": ["failed", "missed"]}, "filter.outcomes[1]", MISSED),
    ({"types": [LIMIT], "projects": [PAYMENTS_PROJECT_ID]}, "filter.types[0]", "the projects"),
    ({"outcomes": ["reached"], "projects": [PAYMENTS_PROJECT_ID]}, "filter.outcomes[0]", "project"),
]


async def test_a_filter_that_no_event_can_fit_is_refused_by_name():
    async with running_emulator() as cloud, telling(cloud, EventSettings()) as world:
        for wanted, field, says in IMPOSSIBLE:
            async with watching(world, filter=Filter(**wanted)) as reader:
                failure = await reader.failure()
            assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID"), wanted
            assert failure.message.startswith(f"{field}: "), failure.message
            assert says in failure.message


async def test_a_stream_goes_on_where_it_was_cut_also_after_a_restart(tmp_path):
    state = StoreSettings(path=str(tmp_path / "state.db"))
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef")
    key = {"page_token_key": {"file": str(tmp_path / "key")}}
    async with running_emulator(pace=STILL) as cloud:
        async with telling(cloud, EventSettings(), state, **key) as world:
            async with watching(world) as reader:
                await reader.next("heartbeat")
                seen = [await failed(world)]
                assert (await reader.next()).id == seen[0]
                token = reader.token
            missed = [await failed(world, vault_id=f"v{n % 2}") for n in range(4)]
            # And the entry that the log began with.
            await until_true(lambda: is_kept(world, 6))
        async with telling(cloud, EventSettings(), state, **key) as world:
            async with watching(world, resume_token=token) as reader:
                assert {(await reader.next()).id for _ in missed} == set(missed)
                await reader.next("heartbeat")
                half = reader.messages[1].resume_token
                later = [each.cloud_event.id for each in reader.messages[2:4]]
            async with watching(world, resume_token=half) as reader:
                assert [(await reader.next()).id for _ in later] == later
            async with watching(world, include_kept=True) as reader:
                assert (await reader.next()).id == seen[0]
            async with watching(world, "databases", resume_token=token) as reader:
                assert (await reader.failure()).reason == "RESUME_TOKEN_MISMATCH"
            wanted = Filter(outcomes=["failed"])
            async with watching(world, resume_token=token, filter=wanted) as reader:
                assert (await reader.failure()).reason == "RESUME_TOKEN_MISMATCH"


async def is_kept(world, count):
    return await world.app.store.queues.length("event_log:payments") == count


async def test_a_token_older_than_what_is_kept_is_a_gap_or_an_error():
    few = EventSettings(max_kept=2)
    async with running_emulator(pace=STILL) as cloud, telling(cloud, few) as world:
        async with watching(world) as reader:
            await reader.next("heartbeat")
            token, told = reader.token, []
            for _ in range(3):
                told.append(await failed(world))
                assert (await reader.next()).id == told[-1]
        async with watching(world, resume_token=token) as reader:
            gap = await reader.next("gap")
            assert gap.since_time.seconds > 1e9
            assert [(await reader.next()).id for _ in range(2)] == told[1:]
        fails = task_pb2.GAP_POLICY_FAIL
        async with watching(world, resume_token=token, gap_policy=fails) as reader:
            failure = await reader.failure()
    assert failure.reason == "RESUME_TOKEN_EXPIRED"
    assert failure.code == "OUT_OF_RANGE"


async def test_a_stream_that_is_overtaken_says_so(monkeypatch):
    """What was put while it told others has left the log before it came to it."""
    async with running_emulator() as cloud, telling(cloud, EventSettings(max_kept=2)) as world:
        kept = EventLog(EventSettings(max_kept=2), world.app.store.queues, SystemClock())
        async with watching(world) as reader:
            await reader.next("heartbeat")
            monkeypatch.setattr(EventLog, "_wake", lambda *_: None)
            for n in range(4):
                await kept.put(event(n))
            monkeypatch.undo()
            await kept.put(event(4))
            await reader.next("gap")
            assert [(await reader.next()).id for _ in range(2)] == ["task-3", "task-4"]


async def test_what_is_wrong_is_refused_with_its_field():
    async with running_emulator() as cloud, telling(cloud, EventSettings()) as world:
        for field, request in {
            "filter.types[0]": {"filter": Filter(types=["com.example"])},
            "filter.outcomes[0]": {"filter": Filter(outcomes=["bad"])},
            "filter.projects[0]": {"filter": Filter(projects=[DATABASES_PROJECT_ID])},
        }.items():
            async with watching(world, **request) as reader:
                failure = await reader.failure()
                assert failure.reason == "FIELD_INVALID"
                assert field in failure.message
        async with watching(world, resume_token="bad") as reader:
            assert (await reader.failure()).reason == "RESUME_TOKEN_MISMATCH"


async def test_a_gateway_that_keeps_no_events_says_so():
    none = EventSettings(max_kept=0)
    async with (
        running_emulator() as cloud,
        telling(cloud, none) as world,
        watching(world) as reader,
    ):
        assert (await reader.failure()).reason == "NOT_SUPPORTED"


async def test_a_gateway_that_ends_ends_its_streams_in_order():
    async with (
        running_emulator() as cloud,
        telling(cloud, EventSettings()) as world,
        watching(world) as reader,
    ):
        await reader.next("heartbeat")
        await world.app.hub.end(10)
        end = await reader.next("stream_end")
    assert end.reason == task_pb2.STREAM_END_REASON_SHUTDOWN


async def test_what_another_replica_puts_is_told(tmp_path):
    with running_valkey(tmp_path) as valkey:
        shared = settings_for("valkey", tmp_path, valkey)
        async with (
            running_emulator() as cloud,
            telling(cloud, EventSettings(), shared) as world,
            watching(world) as reader,
            open_store(shared, SystemClock()) as store,
        ):
            await reader.next("heartbeat")
            await EventLog(EventSettings(), store.queues, SystemClock()).put(event(1))
            assert (await reader.next()).id == "task-1"


async def test_what_is_old_leaves_the_log_but_for_the_newest_of_it():
    clock = SteppedClock()
    async with open_store(StoreSettings(), SystemClock()) as store:
        log = EventLog(EventSettings(keep_s=100), store.queues, clock)
        for n in range(3):
            await log.put(event(n))
        newest = await log.end("payments")
        clock.advance(101)
        await log.put(event(3))
        assert [each.key for each in await log.kept("payments")] == ["task-2", "task-3"]
        following = await log.after("payments", newest.position, newest.key)
        assert [each.key for each in following] == ["task-3"]
        assert await log.after("payments", newest.position, "of another life") is None
        clock.advance(101)
        await log.put(event(4))
        assert await log.after("payments", newest.position, newest.key) is None


def test_the_proto_knows_the_types_and_outcomes_of_events():
    text = (Path(__file__).parents[2] / "protos/cbrgateway/v1/event_service.proto").read_text()
    types, outcomes = (
        re.findall(r'"(.*)"', part) for part in re.findall(r"\bin: \[\n(.*?)\]", text, re.DOTALL)
    )
    assert types == list(get_args(TypeName))
    assert outcomes == list(get_args(Outcome))
