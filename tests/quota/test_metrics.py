"""Each metric that is not vaults, capacity or policies: what it counts and when it has room
again.
"""

import asyncio
import time

import pytest
from cbrgateway.v1 import backup_pb2, backup_share_pb2, checkpoint_pb2, order_pb2, vault_pb2
from cbrgateway.v1.backup_pb2_grpc import BackupServiceStub
from cbrgateway.v1.backup_share_pb2_grpc import BackupShareServiceStub
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from cbrgateway.v1.order_pb2_grpc import OrderServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.settings import DATABASES_PROJECT_ID, RESEARCH_PROJECT_ID
from emulator.transitions import Mode, Pace
from tests.functional import stage
from tests.functional.calls import caller, until
from tests.quota.scenes import gateway, limit, new_vault, outcome, posts

AT_ONCE = Pace(Mode.IMMEDIATE)


def add(world, backup_id, *projects):
    request = backup_share_pb2.AddBackupMembersRequest(backup_id=backup_id, project_ids=projects)
    return outcome(world, world.stub(BackupShareServiceStub).AddBackupMembers, request)


async def test_members_are_counted_for_each_backup():
    async with gateway(limit("members_per_backup", "tenant", 1), pace=AT_ONCE) as world:
        first, second = [(await stage.backup(caller(world))).id for _ in range(2)]
        assert (await add(world, first, DATABASES_PROJECT_ID)).reason == "OK"
        refused = await add(world, first, RESEARCH_PROJECT_ID)
        assert (refused.reason, refused.violations[0].quota_metric) == (
            "RESOURCE_COUNT_LIMIT",
            "members_per_backup",
        )
        assert (
            await add(world, second, DATABASES_PROJECT_ID, RESEARCH_PROJECT_ID)
        ).reason == "RESOURCE_COUNT_LIMIT"
        assert (await add(world, second, RESEARCH_PROJECT_ID)).reason == "OK"
        gone = backup_share_pb2.DeleteBackupMemberRequest(
            backup_id=first, member_id=DATABASES_PROJECT_ID
        )
        assert (
            await outcome(world, world.stub(BackupShareServiceStub).DeleteBackupMember, gone)
        ).reason == "OK"
        assert (await add(world, first, RESEARCH_PROJECT_ID)).reason == "OK"
        assert len(posts(world, "AddMember", committed=True)) == 3


async def test_the_growth_of_a_day_does_not_come_back_with_a_delete():
    async with gateway(limit("growth_gib_per_day", "tenant", 30)) as world:
        vaults = world.stub(VaultServiceStub)
        made = await outcome(world, vaults.CreateVault, new_vault(1, 20))
        assert made.reason == "OK"
        gone = vault_pb2.DeleteVaultRequest(vault_id=made.response.vault.id)
        assert (await outcome(world, vaults.DeleteVault, gone)).reason == "OK"
        refused = await outcome(world, vaults.CreateVault, new_vault(2, 11))
        assert (refused.reason, refused.violations[0].quota_metric) == (
            "VOLUME_LIMIT",
            "growth_gib_per_day",
        )
        midnight_s = 86400 - time.time() % 86400
        wait = refused.details["RetryInfo"].retry_delay
        assert wait.ToTimedelta().total_seconds() == pytest.approx(midnight_s, abs=100)
        never = await outcome(world, vaults.CreateVault, new_vault(2, 31))
        assert (never.reason, "RetryInfo" in never.details) == ("VOLUME_LIMIT", False)
        assert (await outcome(world, vaults.CreateVault, new_vault(3, 10))).reason == "OK"


@pytest.mark.parametrize("metric", ["capacity_gib", "growth_gib_per_day"])
async def test_an_order_that_makes_a_vault_larger_counts_by_what_it_grows(metric):
    async with gateway(limit(metric, "tenant", 30)) as world:
        orders = world.stub(OrderServiceStub)
        made = await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(1, 20))
        vault_id, product = (
            made.response.vault.id,
            {
                "product_id": "1",
                "resource_size_gib": 31,
                "resource_spec_code": "vault.backup.server.normal",
            },
        )
        for method, request in (
            (
                orders.ChangeOrder,
                order_pb2.ChangeOrderRequest(resource_id=vault_id, product_info=product),
            ),
            (
                orders.UpdateOrder,
                order_pb2.UpdateOrderRequest(
                    order_id="o-1", resource_id=vault_id, product_info=product
                ),
            ),
        ):
            refused = await outcome(world, method, request)
            (violation,) = refused.violations
            assert violation.quota_metric == metric
        assert not posts(world, "ChangeOrder")
        assert not posts(world, "UpdateOrder")


async def test_checkpoints_and_replications_are_counted_by_the_day():
    async with gateway(
        limit("checkpoints_per_day", "project", 1),
        limit("replications_per_day", "project", 0),
        pace=AT_ONCE,
    ) as world:
        backup = await stage.backup(caller(world))
        again = checkpoint_pb2.CreateCheckpointRequest(checkpoint={"vault_id": backup.vault_id})
        refused = await outcome(world, world.stub(CheckpointServiceStub).CreateCheckpoint, again)
        assert (refused.reason, refused.violations[0].quota_metric) == (
            "VOLUME_LIMIT",
            "checkpoints_per_day",
        )
        replica = {
            "destination_project_id": "p",
            "destination_region": "cn-east-3",
            "destination_vault_id": "v",
        }
        request = backup_pb2.ReplicateBackupRequest(backup_id=backup.id, replicate=replica)
        refused = await outcome(world, world.stub(BackupServiceStub).ReplicateBackup, request)
        assert (refused.reason, refused.violations[0].quota_metric) == (
            "VOLUME_LIMIT",
            "replications_per_day",
        )
        assert (len(posts(world, "CreateCheckpoint")), len(posts(world, "ReplicateBackup"))) == (
            1,
            0,
        )


async def test_restores_in_flight_have_a_limit_of_their_own():
    async with gateway(limit("concurrent_restores", "tenant", 1), pace=AT_ONCE) as world:
        backup = await stage.backup(caller(world))
        world.emulator.state.faults.add(
            {"kind": "delay", "seconds": 2, "match": {"operation": "RestoreBackup"}}
        )

        def restore():
            request = backup_pb2.RestoreBackupRequest(
                backup_id=backup.id, restore={"server_id": backup.resource_id}
            )
            return outcome(world, world.stub(BackupServiceStub).RestoreBackup, request)

        first = asyncio.create_task(restore())
        await until(lambda: posts(world, "RestoreBackup"))
        refused = await restore()
        assert (refused.reason, refused.violations[0].quota_metric) == (
            "CONCURRENCY_LIMIT",
            "concurrent_restores",
        )
        assert (
            await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(1))
        ).reason == "OK"
        await first
        assert (await restore()).reason != "CONCURRENCY_LIMIT"
        assert len(posts(world, "RestoreBackup")) == 2
