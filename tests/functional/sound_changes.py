"""A request for every change, of which nothing in the emulator keeps it from being made."""

import itertools

import pytest
from cbrgateway.v1 import options_pb2 as options

from emulator.settings import STANDBY_PROJECT_ID
from emulator.transitions import Mode, Pace
from tests.functional import stage
from tests.functional import test_changes_in_doubt as scenes
from tests.functional.calls import BINDINGS, REQUESTS, Caller, message_for
from tests.harness import STANDBY_REGION, running_gateway, tenant_entry
from tests.isolation.requests import put

CHANGES = sorted(rpc for rpc, binding in BINDINGS.items() if not binding.reads)
READS = {binding.operation for binding in BINDINGS.values() if binding.reads}


@pytest.fixture(scope="module")
async def shared_world():
    """One where payments has a second project, for replicas."""
    payments, standby = tenant_entry("payments"), tenant_entry("standby")
    tenants = [
        {**payments, "projects": payments["projects"] + standby["projects"]},
        tenant_entry("databases"),
        tenant_entry("admin"),
    ]
    async with running_gateway(sections={"tenants": tenants}, pace=Pace(Mode.IMMEDIATE)) as world:
        yield world


def elsewhere(call):
    """The same caller in the project for replicas."""
    return Caller(call.channel, (*call.metadata, ("x-cbr-project-id", STANDBY_PROJECT_ID)))


async def place(call, protect_type="PROTECT_TYPE_REPLICATION"):
    billing = stage.BILLING | {"protect_type": protect_type}
    there = await elsewhere(call).ok(
        "VaultService/CreateVault", {"vault": {"name": "replicas", "billing": billing}}
    )
    return {
        "destination_project_id": STANDBY_PROJECT_ID,
        "destination_region": STANDBY_REGION,
        "destination_vault_id": there.vault.id,
    }


async def replicate_backup(call):
    return {"backup_id": (await stage.backup(call)).id, "replicate": await place(call)}


async def replicate_checkpoint(call):
    vault_id = (await stage.backup(call)).vault_id
    return {"replicate": {"vault_id": vault_id, **await place(call)}}


async def synchronise_backups(call):
    billing = stage.BILLING | {"cloud_type": "CLOUD_TYPE_HYBRID"}
    await call.ok("VaultService/CreateVault", {"vault": {"name": "hybrid", "billing": billing}})
    return REQUESTS["BackupService/SyncBackups"]


async def expire_later(call):
    day = {"year": 2999, "month": 1, "day": 1}
    vault_id = (await stage.vault(call)).id
    return {"vault_id": vault_id, "expiration_date": day, "time_zone": "UTC+08:00"}


async def order_vault(call):
    billing = stage.BILLING | {
        "charging_mode": "CHARGING_MODE_PRE_PAID",
        "period_type": "PERIOD_TYPE_MONTH",
        "period_num": 1,
    }
    policy_id = (await stage.policy(call)).id
    resources = await stage.servers(call, 1)
    wish = {"billing": billing, "resources": resources, "backup_policy_id": policy_id}
    return {"vault": {"name": "ordered", **wish}}


KNOWN = dict(
    sorted(scenes.RESPONSE_NOT_SHOWN | scenes.CONVERGE | scenes.DELETE | scenes.ONCE, key=str)
) | {
    "BackupService/ReplicateBackup": replicate_backup,
    "BackupService/SyncBackups": synchronise_backups,
    "CheckpointService/ReplicateCheckpoint": replicate_checkpoint,
    "VaultService/OrderVault": order_vault,
    "VaultService/UpdateBackupExpiration": expire_later,
}


async def vault_id(call):
    return (await stage.vault(call)).id


async def backup_id(call):
    return (await stage.backup(call)).id


async def checkpoint_id(call):
    return (await stage.backup(call)).checkpoint_id


async def policy_id(call):
    return (await stage.policy(call)).id


MADE = {
    options.REFERS_VAULT: vault_id,
    options.REFERS_DESTINATION_VAULT: vault_id,
    options.REFERS_BACKUP: backup_id,
    options.REFERS_CHECKPOINT: checkpoint_id,
    options.REFERS_POLICY: policy_id,
}
FITTING = {
    "CheckpointService/SyncCheckpoint": {"cloud_type": "hybrid"},
    "OrderService/ChangeOrder": {"charging_mode": "pre_paid"},
    "OrderService/UpdateOrder": {"charging_mode": "pre_paid"},
}
"""What the vaults have to be for it."""


async def _example(call, rpc):
    """The example of an RPC, with objects that are there."""
    message = message_for(rpc, REQUESTS[rpc])
    for field in BINDINGS[rpc].id_fields:
        if field.refers in MADE and next(field.ids(message), None):
            put(message, field.names, await MADE[field.refers](call))
    return message


async def request_of(world, call, rpc):
    found = message_for(rpc, await (KNOWN[rpc](call) if rpc in KNOWN else _example(call, rpc)))
    found.request_id = ""
    for (name, value), vault in itertools.product(
        FITTING.get(rpc, {}).items(), world.emulator.state.world.vaults.values()
    ):
        setattr(vault, name, value)
    return found


def validating(request):
    copy = type(request)()
    copy.CopyFrom(request)
    copy.validate_only = True
    return copy


def changing(world, since):
    """The requests since then that are no reads."""
    entries = world.emulator.state.truth.entries(since)
    return [entry for entry in entries if entry.operation not in READS]


async def check_foreseen(world, call, rpc, wish):
    """A validation and the change are refused for the same; what the validation answers."""
    since = scenes.last_seq(world)
    told = await call.fails(rpc, wish | {"validate_only": True})
    assert changing(world, since) == []
    real = await call.fails(rpc, wish)
    assert len(changing(world, since)) == 1
    assert (told.reason, told.code) == (real.reason, real.code)
    # CBR's text may name more fields, or only what holds the one.
    assert bool(told.fields) == bool(real.fields)
    assert all(any(more.startswith(less) for less in real.fields) for more in told.fields)
    return told
