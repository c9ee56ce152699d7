"""What CBR shows of changes that start no task, and what the work behind a change holds for as long
as it goes on.
"""

import asyncio
import contextlib
import time

import grpc
import pytest
from cbrgateway.v1 import agent_pb2, backup_pb2, order_pb2, types_pb2, vault_pb2
from cbrgateway.v1.agent_pb2_grpc import AgentServiceStub
from cbrgateway.v1.order_pb2_grpc import OrderServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.changes import holding
from gateway.limits import admission, slots
from gateway.state import State, StoreSettings
from tests.functional.calls import failure_of
from tests.harness import World, config_for
from tests.tasks.works import BILLING, FAST, Scene, finish, gateway

LIMITS = {
    "limits": [{"metric": "concurrent_restores", "level": "tenant", "value": 1}],
    "tasks": FAST,
}


async def reason(call):
    """OK, or why the call failed."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return failure_of(error).reason
    return "OK"


@contextlib.asynccontextmanager
async def one_restore(cloud, path):
    """One life of a gateway that lets one restore run at a time."""
    config = config_for(cloud.base_url, LIMITS).model_copy(
        update={"state": StoreSettings(path=path, timeout_s=5)}
    )
    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield Scene(World(app, cloud, channel))


async def test_a_restore_counts_until_its_task_has_ended(tmp_path):
    async with running_emulator(pace=Pace(Mode.TIME, duration_s=3600)) as cloud:
        async with one_restore(cloud, tmp_path / "state.db") as scene:
            backup = await scene.backup()
            restore = backup_pb2.RestoreBackupRequest(
                backup_id=backup.id, restore={"server_id": backup.resource_id}
            )
            assert await reason(scene.call(scene.backups.RestoreBackup, restore)) == "OK"
            assert (
                await reason(scene.call(scene.backups.RestoreBackup, restore))
                == "CONCURRENCY_LIMIT"
            )
        async with one_restore(cloud, tmp_path / "state.db") as scene:
            # What was held before the restart is taken again. Until then CBR itself refuses a
            # second restore to the same server.
            await ends_with(scene, restore, "CONCURRENCY_LIMIT")
            finish(scene.world)
            await ends_with(scene, restore, "OK")


@pytest.mark.parametrize(
    "ill",
    [{"kind": "status", "status": 500}, {"kind": "delay", "seconds": 3}],
    ids=["fails", "is slow"],
)
async def test_a_restore_counts_while_cbr_cannot_tell_whether_its_task_has_ended(
    tmp_path, monkeypatch, ill
):
    """Longer than a lease lasts."""
    for each in (admission, holding, slots):
        monkeypatch.setattr(each, "LEASE_S", 1.0)
    monkeypatch.setattr(holding, "BEAT_S", 0.1)
    async with (
        running_emulator(pace=Pace(Mode.TIME, duration_s=3600)) as cloud,
        one_restore(cloud, tmp_path / "state.db") as scene,
    ):
        backup = await scene.backup()
        restore = backup_pb2.RestoreBackupRequest(
            backup_id=backup.id, restore={"server_id": backup.resource_id}
        )
        asked = cloud.state.faults.add({**ill, "match": {"operation": "ShowOpLog"}, "times": None})
        assert await reason(scene.call(scene.backups.RestoreBackup, restore)) == "OK"
        for _ in range(8):
            await asyncio.sleep(0.25)
            assert (
                await reason(scene.call(scene.backups.RestoreBackup, restore))
                == "CONCURRENCY_LIMIT"
            )
        cloud.state.faults.remove(asked.id)
        finish(scene.world)
        await ends_with(scene, restore, "OK")


async def ends_with(scene, restore, wanted, within_s=30):
    ends_at = time.monotonic() + within_s
    while (found := await reason(scene.call(scene.backups.RestoreBackup, restore))) != wanted:
        assert time.monotonic() < ends_at, found
        await asyncio.sleep(0.1)


async def settled(world, within_s=15):
    """Waits until no outcome is open; the operation's state."""
    ends_at = time.monotonic() + within_s
    while await world.app.store.operations.in_states(
        None, {State.SENT, State.UNKNOWN, State.RESERVED}
    ):
        assert time.monotonic() < ends_at
        await asyncio.sleep(0.05)


def lost(world, operation, when="after_commit"):
    world.emulator.state.faults.add(
        {"kind": "cut", "when": when, "match": {"operation": operation}, "times": None}
    )


PRE_PAID = {
    "charging_mode": "CHARGING_MODE_PRE_PAID",
    "period_type": "PERIOD_TYPE_MONTH",
    "period_num": 1,
    "is_auto_pay": True,
}


def ordered(name="ordered", request_id="r-1"):
    spec = {"name": name, "billing": {**BILLING, **PRE_PAID}}
    return vault_pb2.OrderVaultRequest(vault=spec, request_id=request_id)


async def test_an_order_is_settled_by_the_vault_that_was_ordered():
    async with gateway(quota={"sweep_s": 1, "settle_s": 1}) as world:
        scene = Scene(world)
        lost(world, "CreatePostPaidVault")
        assert await reason(scene.call(scene.vaults.OrderVault, ordered())) == "OUTCOME_UNKNOWN"
        await settled(world)
        again = await scene.call(scene.vaults.OrderVault, ordered())
        (vault,) = world.emulator.state.world.vaults.values()
        assert [(line.resource_id, line.order_id) for line in again.orders] == [
            (vault.id, vault.order_id)
        ]


async def test_an_order_that_is_not_seen_waits_for_an_operator():
    async with gateway(quota={"sweep_s": 1, "settle_s": 0.2}) as world:
        scene = Scene(world)
        lost(world, "CreatePostPaidVault", "before_commit")
        assert await reason(scene.call(scene.vaults.OrderVault, ordered())) == "OUTCOME_UNKNOWN"
        await asyncio.sleep(1.5)
        assert [
            op.state for op in await world.app.store.operations.in_states(None, set(State))
        ] == [State.UNKNOWN]


async def test_a_change_of_the_charging_mode_and_of_an_order_is_shown_by_the_vault():
    async with gateway() as world:
        scene = Scene(world)
        held = await scene.vault(0)
        request = vault_pb2.ChangeVaultChargingModeRequest(
            vault_ids=[held.id],
            charging_mode=types_pb2.CHARGING_MODE_PRE_PAID,
            period_type="PERIOD_TYPE_MONTH",
            period_num=1,
            is_auto_renew=False,
            is_auto_pay=True,
            request_id="r-1",
        )
        lost(world, "ChangeVaultChargeMode")
        assert (
            await reason(scene.call(scene.vaults.ChangeVaultChargingMode, request))
            == "OUTCOME_UNKNOWN"
        )
        await settled(world)
        vault = world.emulator.state.world.vaults[held.id]
        assert (
            await scene.call(scene.vaults.ChangeVaultChargingMode, request)
        ).order_id == vault.order_id
        product = {
            "product_id": "p",
            "resource_size_gib": 3000,
            "resource_size_measure_id": 17,
            "resource_spec_code": vault.spec_code,
        }
        change = order_pb2.ChangeOrderRequest(
            resource_id=held.id, product_info=product, request_id="r-2"
        )
        lost(world, "ChangeOrder")
        orders = world.stub(OrderServiceStub)
        assert await reason(scene.call(orders.ChangeOrder, change)) == "OUTCOME_UNKNOWN"
        await settled(world)
        # It was carried out, and its answer is lost.
        assert await reason(scene.call(orders.ChangeOrder, change)) == "EXISTS"
        assert vault.size == 3000


@pytest.mark.parametrize(
    ("when", "expected"), [("after_commit", State.COMMITTED), ("before_commit", State.RELEASED)]
)
async def test_an_agent_is_shown_by_its_registration(when, expected):
    async with gateway() as world:
        scene = Scene(world)
        agent = {
            "agent_id": "299332e3-f4c4-5cf4-8dd4-7f98fe25ff54",
            "host_name": "db-01",
            "host_ip": "192.168.7.21",
            "host_os": "linux",
        }
        lost(world, "RegisterAgent", when)
        registering = scene.call(
            world.stub(AgentServiceStub).RegisterAgent,
            agent_pb2.RegisterAgentRequest(agent=agent, request_id="r"),
        )
        assert await reason(registering) == "OUTCOME_UNKNOWN"
        await settled(world)
        assert [
            op.state for op in await world.app.store.operations.in_states(None, set(State))
        ] == [expected]


async def test_a_checkpoint_is_told_from_others_by_its_description():
    """Another checkpoint of the same vault and time, made past this gateway, would fit as well."""
    async with gateway(quota={"sweep_s": 1, "settle_s": 1, "markers": True}) as world:
        scene = Scene(world)
        held = await scene.vault(2)
        lost(world, "CreateCheckpoint")
        one, other = (
            {"resource_details": [{"id": each.id, "type": each.type}]} for each in held.resources
        )
        async with (
            open_app(config_for(world.emulator.base_url)) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            console = Scene(World(app, world.emulator, channel))
            assert await reason(console.checkpoint(held.id, parameters=other)) == "OUTCOME_UNKNOWN"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await scene.checkpoint(held.id, parameters=one)
        found = await scene.known(failure_of(caught.value).facts["submission"])
        (task_id,) = found.task_ids
        checkpoint = world.emulator.state.world.checkpoints[
            world.emulator.state.world.tasks.log[task_id].checkpoint_id
        ]
        assert checkpoint.description == f"gw-op {found.id}"
