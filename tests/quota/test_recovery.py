"""After a crash or a lost answer the store and CBR agree again, and nothing was done twice.

The emulator's truth log is the oracle.
"""

import asyncio
import functools
import uuid
from collections import Counter

import grpc
import pytest
from cbrgateway.v1 import backup_pb2, quota_pb2, vault_pb2
from cbrgateway.v1.backup_pb2_grpc import BackupServiceStub
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from google.protobuf import json_format

from emulator import settings as emulated
from gateway.app import open_app
from gateway.state import OPEN, State
from tests.functional.calls import told, until
from tests.harness import World, config_for
from tests.quota.fleet import at_most
from tests.quota.oracle import created
from tests.quota.scenes import SOAK, gateway, limit, new_vault, often, outcome, posts, usage
from tests.state.benches import operation

KEY = "vaults:tenant:payments"
AFTER, BEFORE = "after_commit", "before_commit"
LOSSES = (
    {"kind": "cut", "when": BEFORE},
    {"kind": "cut", "when": AFTER},
    {"kind": "status", "status": 502, "when": AFTER},
    {"kind": "status", "status": 504, "when": AFTER},
    {"kind": "truncate"},
)


async def settled(world, within_s=90.0):
    """Waits until no outcome is open."""
    async with asyncio.timeout(within_s):
        operations = world.app.store.operations
        while await operations.in_states(None, OPEN):  # noqa: ASYNC110 - the store has no bell
            await asyncio.sleep(0.1)


async def until_ok(world, request):
    """Among other calls that CBR answers: one that failed nearly every time would be left alone for
    a while.
    """
    vaults = world.stub(VaultServiceStub)
    async with asyncio.timeout(often(120, 400)):
        while True:
            await outcome(
                world, vaults.DeleteVault, vault_pb2.DeleteVaultRequest(vault_id=str(uuid.uuid4()))
            )
            ended = await outcome(world, vaults.CreateVault, request, within_s=3)
            if ended.reason == "OK":
                return ended
            await outcome(
                world, vaults.GetVault, vault_pb2.GetVaultRequest(vault_id=str(uuid.uuid4()))
            )
            await asyncio.sleep(0.3)


@pytest.mark.timeout(900 if SOAK else 300)
async def test_a_request_id_makes_one_vault_whatever_is_lost():
    """Two of five creates suffer a fault, and lists lag behind; settling takes longer than they
    do.
    """
    count, lag_s = often(25, 1000), 0.5
    async with gateway(
        limit("vaults", "tenant", 10_000), settings=emulated.EmulatorSettings(seed=7)
    ) as world:
        faults = world.emulator.state.faults
        for loss in LOSSES:
            faults.add(
                {**loss, "match": {"operation": "CreateVault"}, "probability": 0.1, "times": None}
            )
        faults.add(
            {
                "kind": "list_lag",
                "seconds": lag_s,
                "match": {"operation": "ListVault"},
                "times": None,
                "probability": 0.5,
            }
        )
        await at_most(
            often(25, 40),
            [
                functools.partial(until_ok, world, new_vault(n, request_id=f"r-{n}"))
                for n in range(count)
            ],
        )
        assert Counter(created(world).values()) == {1: count}
        assert sum(bool(entry.faults) for entry in posts(world)) > count / 5, (
            "too few faults struck to show anything"
        )
        faults.remove()
        await settled(world)
        await world.app.recovery.recounter.run()
        assert (await usage(world, KEY))[KEY].committed == count


async def test_a_create_whose_answer_was_lost_is_found_and_its_answer_replayed():
    async with gateway(limit("vaults", "tenant", 1)) as world:
        world.emulator.state.faults.add(
            {"kind": "cut", "when": AFTER, "match": {"operation": "CreateVault"}}
        )
        vaults = world.stub(VaultServiceStub)
        lost = await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        assert lost.reason == "OUTCOME_UNKNOWN"
        again = await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        assert (again.reason, again.trailers["replayed"]) == ("OK", "true")
        read = await outcome(
            world, vaults.GetVault, vault_pb2.GetVaultRequest(vault_id=again.response.vault.id)
        )
        assert read.response.vault.name == "vault-1"
        assert len(posts(world)) == 1
        assert (
            await outcome(world, vaults.CreateVault, new_vault(2))
        ).reason == "RESOURCE_COUNT_LIMIT"


async def test_a_create_that_never_happened_is_given_up_after_a_while():
    async with gateway(limit("vaults", "tenant", 1)) as world:
        world.emulator.state.faults.add(
            {"kind": "cut", "when": BEFORE, "match": {"operation": "CreateVault"}}
        )
        vaults = world.stub(VaultServiceStub)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OUTCOME_UNKNOWN"
        assert (
            await outcome(world, vaults.CreateVault, new_vault(2))
        ).reason == "RESOURCE_COUNT_LIMIT"
        await settled(world)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OK"
        assert len(posts(world, committed=True)) == 1


async def test_a_caller_that_leaves_changes_nothing_about_the_bookkeeping():
    async with gateway(limit("vaults", "tenant", 1)) as world:
        world.emulator.state.faults.add(
            {"kind": "delay", "seconds": 0.6, "match": {"operation": "CreateVault"}}
        )
        vaults = world.stub(VaultServiceStub)
        call = vaults.CreateVault(new_vault(1, request_id="r-1"), metadata=world.metadata())
        await until(lambda: posts(world))
        call.cancel()
        await settled(world)
        assert (await usage(world, KEY))[KEY].committed == 1
        again = await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        assert (again.reason, again.trailers["replayed"]) == ("OK", "true")


async def test_a_restore_is_never_sent_again_and_waits_for_an_operator():
    async with gateway() as world:
        world.emulator.state.faults.add(
            {"kind": "cut", "when": BEFORE, "match": {"operation": "ImportBackup"}, "times": None}
        )
        world.emulator.state.faults.add(
            {"kind": "cut", "when": BEFORE, "match": {"operation": "RestoreBackup"}, "times": None}
        )
        backups = world.stub(BackupServiceStub)
        request = backup_pb2.RestoreBackupRequest(
            backup_id="0daac4c5-6707-4851-97ba-169e36266b66",
            restore={"server_id": "s"},
            request_id="r-1",
        )
        assert (await outcome(world, backups.RestoreBackup, request)).reason == "OUTCOME_UNKNOWN"
        await asyncio.sleep(2.5)
        (open_operation,) = await world.app.store.operations.in_states(None, {State.UNKNOWN})
        assert open_operation.rpc == "BackupService/RestoreBackup"
        assert (
            await told(lambda: outcome(world, backups.RestoreBackup, request, within_s=1))
        ).reason == "OUTCOME_UNDECIDED"
        assert len(posts(world, "RestoreBackup")) == 1


async def test_what_cannot_be_undone_is_sent_once_whatever_is_lost():
    plain = json_format.MessageToDict(new_vault(1, 100).vault, preserving_proto_field_name=True)
    prepaid = {
        "charging_mode": "CHARGING_MODE_PRE_PAID",
        "period_type": "PERIOD_TYPE_YEAR",
        "period_num": 1,
    }
    order = json_format.ParseDict(
        {"vault": {**plain, "billing": {**plain["billing"], **prepaid}}},
        vault_pb2.OrderVaultRequest(),
    )
    restore = backup_pb2.RestoreBackupRequest(
        backup_id="0daac4c5-6707-4851-97ba-169e36266b66", restore={"server_id": "s"}
    )
    async with gateway() as world:
        for loss in LOSSES:
            for operation, method, request in (
                ("RestoreBackup", world.stub(BackupServiceStub).RestoreBackup, restore),
                ("CreatePostPaidVault", world.stub(VaultServiceStub).OrderVault, order),
            ):
                world.emulator.state.faults.add({**loss, "match": {"operation": operation}})
                assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        # Longer than it takes until a create that CBR does not show is given up.
        await asyncio.sleep(2.5)
        assert (
            len(posts(world, "RestoreBackup"))
            == len(posts(world, "CreatePostPaidVault"))
            == len(LOSSES)
        )


async def test_a_recount_follows_what_others_did():
    async with gateway(limit("vaults", "tenant", 2)) as world:
        vaults = world.stub(VaultServiceStub)
        for number in range(2):
            await outcome(world, vaults.CreateVault, new_vault(number))
        # Behind the gateway's back, as in the vendor's console.
        async with (
            open_app(config_for(world.emulator.base_url)) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            console = World(app, world.emulator, channel)
            listed = await outcome(
                console, console.stub(VaultServiceStub).ListVaults, vault_pb2.ListVaultsRequest()
            )
            vault_id = listed.response.vaults[0].id
            await outcome(
                console,
                console.stub(VaultServiceStub).DeleteVault,
                vault_pb2.DeleteVaultRequest(vault_id=vault_id),
            )
        assert (
            await outcome(world, vaults.CreateVault, new_vault(5))
        ).reason == "RESOURCE_COUNT_LIMIT"
        # Until a list is no longer taken to be late.
        await asyncio.sleep(1.2)
        world.emulator.state.world.tasks.settle()
        await world.app.recovery.recounter.run()
        found = (await usage(world, KEY))[KEY]
        left = await outcome(world, vaults.ListVaults, vault_pb2.ListVaultsRequest())
        assert found.committed == len(left.response.vaults)


async def test_a_recount_that_was_just_asked_for_does_not_hold_up_the_end():
    async with gateway() as world:
        for turns in range(6):
            async with asyncio.timeout(60), world.app.recovery.running():
                await asyncio.sleep(0.05)
                world.app.recovery.recounter.soon()
                for _ in range(turns):
                    await asyncio.sleep(0)


async def test_a_limit_that_is_newer_than_a_create_counts_it_while_its_outcome_is_open():
    async with gateway(sections={"quota": {"recovery": False}}) as world:
        world.emulator.state.faults.add(
            {"kind": "cut", "when": AFTER, "match": {"operation": "CreateVault"}}
        )
        vaults, quota = world.stub(VaultServiceStub), world.stub(QuotaServiceStub)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OUTCOME_UNKNOWN"
        limited = quota_pb2.SetLimitRequest(
            limit={"metric": "QUOTA_METRIC_VAULTS", "level": "QUOTA_LEVEL_TENANT", "value": 1}
        )
        assert (await outcome(world, quota.SetLimit, limited, tenant="admin")).reason == "OK"
        assert (
            await outcome(world, vaults.CreateVault, new_vault(2))
        ).reason == "RESOURCE_COUNT_LIMIT"
        assert len(posts(world)) == 1


async def test_an_operation_that_nobody_understands_stops_no_other():
    """As a later version may have left it, or a version with other RPCs."""
    async with gateway(limit("vaults", "tenant", 3)) as world:
        store = world.app.store
        for name, more in {
            "garbled": {"detail": b"\xc1"},
            "strange": {"rpc": "VaultService/SpinVault", "detail": b""},
        }.items():
            await store.operations.begin(operation(name, **more))
            await store.operations.sent(name)
            await store.operations.unknown(name)
        world.emulator.state.faults.add(
            {"kind": "cut", "when": AFTER, "match": {"operation": "CreateVault"}}
        )
        vaults = world.stub(VaultServiceStub)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OUTCOME_UNKNOWN"
        async with asyncio.timeout(90):
            while {op.id for op in await store.operations.in_states(None, OPEN)} != {  # noqa: ASYNC110 - the store has no bell
                "garbled",
                "strange",
            }:
                await asyncio.sleep(0.1)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OK"
