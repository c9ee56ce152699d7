"""What one change costs does not depend on how many submissions are open."""

import asyncio
import contextlib

import msgspec
import pytest
from cbrgateway.v1 import quota_pb2, task_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.changes.correlation import Claim
from gateway.changes.matching import Index, keys_of
from gateway.changes.record import OperationDetail
from gateway.state import Operation
from gateway.upstream.task_search import Search
from tests.functional.calls import arrived, order
from tests.harness import TENANTS, World, config_for
from tests.state.benches import settings_for
from tests.state.conftest import valkey  # noqa: F401 - a fixture
from tests.tasks.test_correlation import task
from tests.tasks.works import Scene

LIST = "TaskService/ListTasks"


@contextlib.asynccontextmanager
async def gateway(state):
    import grpc  # noqa: PLC0415

    async with running_emulator(pace=Pace(Mode.TIME, duration_s=3600)) as cloud:
        config = config_for(cloud.base_url, {"tasks": {"settle_s": 60}}).model_copy(
            update={"state": state}
        )
        async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
            yield Scene(World(app, cloud, channel))


def counting(operations, monkeypatch):
    """How many operations the store has handed out, one by one or in lists."""
    read, operations = [], operations._role

    def count(name, size):
        real = getattr(operations, name)

        async def counted(*given):
            answer = await real(*given)
            read.append(size(answer))
            return answer

        monkeypatch.setattr(type(operations), name, lambda _self, *given: counted(*given))

    count("on_topic", len)
    count("get", bool)
    count("changes", lambda answer: len(answer.operations))
    return read


@pytest.mark.parametrize("kind", ["memory", "valkey"])
async def test_a_change_reads_no_other_change_anew(kind, tmp_path, valkey, monkeypatch):  # noqa: F811
    async with gateway(settings_for(kind, tmp_path, valkey)) as scene:
        order(scene.world, "list_lag", LIST, seconds=3600, times=None)
        read = counting(scene.world.app.store.operations, monkeypatch)

        async def operations_per_change(changes):
            before = sum(read)
            for _ in range(changes):
                held = await scene.vault(0)
                await scene.call(
                    scene.vaults.DeleteVault, vault_pb2.DeleteVaultRequest(vault_id=held.id)
                )
            await asyncio.sleep(2)
            return (sum(read) - before) / changes

        few = await operations_per_change(20)
        await operations_per_change(150)
        many = await operations_per_change(20)
        assert many <= 1.2 * few + 1


LISTS = {
    "recent": ("tasks", "ListSubmissions", task_pb2.ListSubmissionsRequest),
    "opened": ("quota", "ListReservations", quota_pb2.ListReservationsRequest),
}


@pytest.mark.parametrize("reading", LISTS)
@pytest.mark.parametrize("kind", ["memory", "valkey"])
async def test_a_page_of_what_the_gateway_keeps_reads_no_more_than_it_shows(
    kind,
    reading,
    tmp_path,
    valkey,  # noqa: F811
    monkeypatch,
):
    async with gateway(settings_for(kind, tmp_path, valkey)) as scene:
        store, (project, _) = scene.world.app.store, TENANTS["payments"]
        for number in range(120):
            trace = msgspec.msgpack.encode(
                OperationDetail(
                    scene.world.app.submissions.heartbeat.owner, project, b"", marked=False
                )
            )
            await store.operations.begin(
                Operation(
                    f"op-{number:03}",
                    "payments",
                    "VaultService/DeleteVault",
                    "",
                    b"",
                    (),
                    60,
                    trace,
                    topic=project,
                )
            )
        # Below the one that measures the role for the metrics.
        operations = store.operations._role
        read, real = [], getattr(operations, reading)

        async def counted(_self, *given):
            answer = await real(*given)
            read.append(len(answer))
            return answer

        monkeypatch.setattr(type(operations), reading, counted)
        service, method, request = LISTS[reading]
        stub = scene.tasks if service == "tasks" else scene.world.stub(QuotaServiceStub)
        listed, token, pages = [], "", []
        while token or not listed:
            since = sum(read)
            page = await scene.call(getattr(stub, method), request(page_size=10, page_token=token))
            listed += [
                row.id for row in (page.submissions if service == "tasks" else page.reservations)
            ]
            assert page.total_size == 120
            pages.append(sum(read) - since)
            token = page.next_page_token
        assert sorted(listed) == [f"op-{number:03}" for number in range(120)]
        assert pages == [120, *[11] * 10, 10]


async def test_one_list_serves_all_that_look(tmp_path, valkey):  # noqa: F811
    async with gateway(settings_for("memory", tmp_path, valkey)) as scene:
        order(scene.world, "list_lag", LIST, seconds=2, times=None)
        made = [(await scene.checkpoint((await scene.vault(1)).id)).submission.id for _ in range(6)]
        asked = len(arrived(scene.world, LIST))
        found = [await scene.known(each) for each in made]
        assert sorted(task_id for each in found for task_id in each.task_ids) == sorted(
            scene.started("backup")
        )
        assert len(arrived(scene.world, LIST)) - asked < len(made) * 4


@pytest.mark.parametrize(
    "search",
    [
        Search((9,), ("r1",), vault_id="v"),
        Search((9,), ("r1", "r2")),
        Search((9,), (), vault_id="v"),
        Search((9,)),
        Search((9,), named=("t",)),
        Search((9,), ("r9",), checkpoint_id="c"),
    ],
)
def test_a_change_is_found_by_every_task_that_it_may_own(search):
    index = Index()
    index.put("own", keys_of(search))
    index.put("other", keys_of(Search((9,), ("r7",), vault_id="w")))
    fitting = task("t", "r1", checkpoint_id="c")
    assert Claim("own", search, 0).may_own(fitting)
    assert index.of([fitting]) == {"own"}
    index.put("own", keys_of(search, ("u",)))
    assert index.of([task("u", "r3")]) >= {"own"}
    index.drop("own")
    assert index.of([fitting, task("u", "r3")]) == set()
