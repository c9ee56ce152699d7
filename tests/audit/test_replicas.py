"""What became of a change is on record, whichever replica learns it."""

import contextlib

import grpc
import pytest
from cbrgateway.v1 import quota_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub

from emulator.server import running_emulator
from gateway.app import open_app
from tests.audit.scenes import assert_good, audit_section, records
from tests.functional.calls import failure_of, order
from tests.harness import World, config_for
from tests.metrics.until import until_true
from tests.state.benches import settings_for
from tests.state.valkey_server import running_valkey
from tests.tasks.works import BILLING, Scene


@contextlib.asynccontextmanager
async def replica(folder, cloud, state, writer):
    sections = {
        "audit": audit_section(folder, writer=writer),
        "quota": {"markers": False, "recovery": False, "sweep_s": 1},
    }
    config = config_for(cloud.base_url, sections).model_copy(update={"state": state})
    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield World(app, cloud, channel)


async def test_what_another_replica_learns_of_a_change_is_recorded_once(tmp_path):
    with running_valkey(tmp_path) as valkey:
        state = settings_for("valkey", tmp_path, valkey)
        async with (
            running_emulator() as cloud,
            replica(tmp_path, cloud, state, "one") as one,
            replica(tmp_path, cloud, state, "two") as two,
        ):
            call = await doubtful_vault(one)
            release = quota_pb2.ReleaseReservationRequest(reservation_id=call, carried_out=True)
            await QuotaServiceStub(two.channel).ReleaseReservation(
                release, metadata=two.metadata("admin")
            )
            await until_true(lambda: is_settled(tmp_path, call))
    (row,) = settled(tmp_path, call)
    assert row["unmapped"]["fate"] == "DONE"
    assert row["actor"]["user"]["name"] == "test"
    assert_good(tmp_path)


async def doubtful_vault(world):
    order(world, "cut", "VaultService/CreateVault", when="before_commit")
    scene, spec = Scene(world), {"name": "vault", "billing": BILLING}
    with pytest.raises(grpc.aio.AioRpcError) as doubtful:
        await scene.call(scene.vaults.CreateVault, vault_pb2.CreateVaultRequest(vault=spec))
    assert failure_of(doubtful.value).reason == "OUTCOME_UNKNOWN"
    return dict(doubtful.value.trailing_metadata())["x-request-id"]


def settled(folder, call):
    rows = records(folder, uid=call)
    return [row for row in rows if row["unmapped"]["event"] == "CHANGE_SETTLED"]


async def is_settled(folder, call):
    return bool(settled(folder, call))
