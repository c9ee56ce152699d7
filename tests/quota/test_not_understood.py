"""Records in the store that this version does not understand, in any state: they stop no other
change, list or count, and an administrator can settle each (point 16).
"""

import asyncio
import itertools

import msgspec
import pytest
from cbrgateway.v1 import quota_pb2, task_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.transitions import Mode, Pace
from gateway.changes.record import OperationDetail
from gateway.state import OPEN, Charge, State
from tests.harness import running_gateway
from tests.quota.fleet import create
from tests.quota.scenes import limit, outcome
from tests.state.benches import operation

RPCS = ("VaultService/CreateVault", "VaultService/RpcOfALaterVersion", "VaultService/DeleteVault")
STATES = ("reserved", "sent", "unknown", "doubtful", "committed")


def spoilt(detail):
    """The same record, as nobody can read it."""
    members = msgspec.msgpack.decode(detail)
    return {
        "no record": b"\xff\x00",
        "no request": msgspec.msgpack.encode(members | {"request": b"\xff\xff"}),
        "another project": msgspec.msgpack.encode(members | {"project": "f" * 32}),
    }


async def put(operations, number, rpc, state, **more):
    charge = Charge("vaults:tenant:payments", 1, None)
    # What was only reserved ends by itself.
    op = operation(f"bad-{number}", charge, rpc=rpc, ttl_s=1, **more)
    await operations.begin(op)
    if state == "reserved":
        return
    await operations.sent(op.id)
    if state in {"unknown", "doubtful"}:
        await operations.unknown(op.id)
    if state == "doubtful":
        assert await operations.note(op.id, b"\xff", b"")
    if state == "committed":
        await operations.commit(op.id, None, f"made-{number}", b"\xff")


@pytest.fixture
def nobody_works_on_them(monkeypatch):
    monkeypatch.setattr("gateway.changes.recovery.ORPHAN_S", 0)


@pytest.mark.usefixtures("nobody_works_on_them")
async def test_records_that_are_not_understood_stop_no_others_and_can_be_settled():
    sections = {
        "limits": [limit("vaults", "tenant", 500)],
        "quota": {"sweep_s": 0.1, "settle_s": 1, "recount_s": 1},
        "tasks": {"settle_s": 1},
    }
    async with running_gateway(sections=sections, pace=Pace(Mode.IMMEDIATE)) as world:
        vaults, quota = world.stub(VaultServiceStub), world.stub(QuotaServiceStub)
        made = await create(world, 1)
        (done,) = await world.app.store.operations.in_states("payments", {State.COMMITTED})
        project = OperationDetail.of(done.detail).project
        scenes = itertools.product(spoilt(done.detail).values(), RPCS, STATES)
        for number, (detail, rpc, state) in enumerate(scenes):
            await put(world.app.store.operations, number, rpc, state, detail=detail, topic=project)
        assert (await create(world, 2)).reason == "OK"
        wanted = vault_pb2.UpdateVaultRequest(
            vault_id=made.response.vault.id, vault={"billing": {"size_gib": 20}}
        )
        assert (await outcome(world, vaults.UpdateVault, wanted)).reason == "OK"
        listed = await outcome(
            world, world.stub(TaskServiceStub).ListSubmissions, task_pb2.ListSubmissionsRequest()
        )
        assert listed.reason == "OK"
        async with asyncio.timeout(120):
            while left := [op.id for op in await world.app.store.operations.in_states(None, OPEN)]:
                asked = quota_pb2.ListReservationsRequest()
                shown = await outcome(world, quota.ListReservations, asked, "admin")
                assert shown.reason == "OK"
                for each, name in enumerate(left):
                    settle = quota_pb2.ReleaseReservationRequest(
                        reservation_id=name, carried_out=each % 2 == 0
                    )
                    ended = await outcome(world, quota.ReleaseReservation, settle, "admin")
                    # Not yet in doubt, or released by itself meanwhile.
                    assert ended.reason in {"OK", "STATE_INVALID", "QUOTA_NOT_FOUND"}
                await asyncio.sleep(0.1)
        assert (await create(world, 3)).reason == "OK"
