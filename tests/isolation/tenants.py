"""Three tenants of one account, each with objects of its own: `near` and `twin` share projects by
enterprise projects, `far` has one for itself.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cbrgateway.v1 import options_pb2 as options

from emulator import settings as emulated
from tests.functional import stage
from tests.functional.calls import Caller, caller
from tests.harness import REGION, STANDBY_REGION, World, tenant_entry

NEAR_PART, TWIN_PART = (
    "5d8b2c4e-0f13-4a77-9a0e-1c2d3e4f5a6b",
    "7c1e9a34-88d2-4b0f-9c55-2f6e7d8c9b0a",
)
SHARED, APART = emulated.PAYMENTS_PROJECT_ID, emulated.DATABASES_PROJECT_ID
PARTS: Mapping[str, str] = {"near": NEAR_PART, "twin": TWIN_PART, "far": ""}
SERVERS: Mapping[str, str] = {"near": "server-01", "twin": "server-02", "far": "server-01"}


def tenants() -> list[dict[str, Any]]:
    def entry(name: str, key: str, project: str, part: str) -> dict[str, Any]:
        projects = (
            [(project, REGION), (emulated.STANDBY_PROJECT_ID, STANDBY_REGION)]
            if part
            else [(project, REGION)]
        )
        own = {"enterprise_project_id": part} if part else {}
        shown = [
            {"id": each, "region": region, "credential": "main", **own} for each, region in projects
        ]
        return {**tenant_entry(key), "id": name, "default_project": project, "projects": shown}

    return [
        entry("near", "payments", SHARED, NEAR_PART),
        entry("twin", "standby", SHARED, TWIN_PART),
        entry("far", "databases", APART, ""),
        tenant_entry("admin"),
    ]


KEYS: Mapping[str, str] = {"near": "payments", "twin": "standby", "far": "databases"}


@dataclass(frozen=True)
class Stock:
    """What one tenant has. `ids`: by what they name. `gone`: ids of objects that it has deleted."""

    call: Caller
    ids: Mapping[int, str]
    gone: Mapping[int, str]


def named(tenant: str, name: str) -> str:
    """A name that a policy of the tenant may have."""
    return f"{PARTS[tenant]}-{name}" if PARTS[tenant] else name


async def stock(world: World, tenant: str) -> Stock:
    """Makes one object of each kind through the gateway, and a second of each that is deleted
    again.
    """
    call = caller(world, KEYS[tenant])
    server = await _server(call, SERVERS[tenant])
    kept, gone = await _vault_with_backup(call, server), {}
    policy, old = [await stage.policy(call, named(tenant, name)) for name in ("kept", "gone")]
    await call.ok("PolicyService/DeletePolicy", {"policy_id": old.id})
    empty = await stage.vault(call)
    await call.ok("VaultService/DeleteVault", {"vault_id": empty.id})
    kept |= {options.REFERS_POLICY: policy.id, options.REFERS_DISK: server.children[0].id}
    kept |= {options.REFERS_ENTERPRISE_PROJECT: PARTS[tenant] or "0", options.REFERS_PROJECT: APART}
    gone |= {options.REFERS_POLICY: old.id, options.REFERS_VAULT: empty.id}
    kept[options.REFERS_DESTINATION_VAULT] = kept[options.REFERS_VAULT]
    if PARTS[tenant]:
        there = caller(world, KEYS[tenant], ("x-cbr-project-id", emulated.STANDBY_PROJECT_ID))
        replicas = {**stage.BILLING, "protect_type": "PROTECT_TYPE_REPLICATION"}
        kept[options.REFERS_DESTINATION_VAULT] = (
            await there.ok(
                "VaultService/CreateVault", {"vault": {"name": "far", "billing": replicas}}
            )
        ).vault.id
        kept[options.REFERS_PROJECT] = emulated.STANDBY_PROJECT_ID
    else:
        kept[options.REFERS_AGENT] = await stage.agent(call)
        kept[options.REFERS_ORDER] = await _order(call)
    return Stock(call, kept, gone)


async def _server(call: Caller, name: str) -> Any:
    wanted = {"protectable_type": "PROTECTABLE_TYPE_SERVER", "name": name}
    return (await call.ok("ProtectabilityService/ListProtectables", wanted)).instances[0]


async def _vault_with_backup(call: Caller, server: Any) -> dict[int, str]:
    wish = stage.vault_request(resources=[{"id": server.id, "type": server.type}])
    vault = (await call.ok("VaultService/CreateVault", wish)).vault
    made = await call.ok(
        "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault.id}}
    )
    backup = (await call.ok("BackupService/ListBackups", {"vault_id": vault.id})).backups[0]
    task = (
        await call.ok("TaskService/ListTasks", {"vault_id": vault.id, "type": "TASK_TYPE_BACKUP"})
    ).tasks[0]
    return {
        options.REFERS_VAULT: vault.id,
        options.REFERS_RESOURCE: server.id,
        options.REFERS_PROTECTABLE: server.id,
        options.REFERS_CHECKPOINT: made.checkpoint.id,
        options.REFERS_BACKUP: backup.id,
        options.REFERS_TASK: task.id,
    }


async def _order(call: Caller) -> str:
    billing = {
        **stage.BILLING,
        "charging_mode": "CHARGING_MODE_PRE_PAID",
        "period_type": "PERIOD_TYPE_MONTH",
        "period_num": 1,
        "is_auto_pay": True,
    }
    return str(
        (await call.ok("VaultService/OrderVault", {"vault": {"name": "paid", "billing": billing}}))
        .orders[0]
        .order_id
    )


def nobodys() -> str:
    """An id that names nothing."""
    return str(uuid.uuid4())
