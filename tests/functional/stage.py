"""Objects that tests need, made through the gateway."""

from typing import Any

from emulator.settings import DATABASES_PROJECT_ID, PAYMENTS_PROJECT_ID
from tests.functional.calls import Caller

BILLING = {
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 1000,
}
TRIGGER = {"properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=3;BYMINUTE=00"]}}
MEMBER = {"payments": PAYMENTS_PROJECT_ID, "databases": DATABASES_PROJECT_ID}


async def servers(caller: Caller, count: int = 1) -> list[dict[str, str]]:
    """Resources that no vault holds yet."""
    found = await caller.ok(
        "ProtectabilityService/ListProtectables",
        {"protectable_type": "PROTECTABLE_TYPE_SERVER", "name": "server-0"},
    )
    free = [row for row in found.instances if not row.protectable.vault.id]
    return [{"id": row.id, "type": row.type} for row in free[:count]]


def vault_request(name: str = "vault", **more: Any) -> dict[str, Any]:
    return {"vault": {"name": name, "billing": BILLING, **more}}


async def vault(caller: Caller, count: int = 0, **more: Any) -> Any:
    resources = await servers(caller, count) if count else []
    return (
        await caller.ok("VaultService/CreateVault", vault_request(resources=resources, **more))
    ).vault


async def policy(caller: Caller, name: str = "nightly") -> Any:
    return (await caller.ok("PolicyService/CreatePolicy", policy_request(name))).policy


def policy_request(name: str = "nightly") -> dict[str, Any]:
    wish = {
        "name": name,
        "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
        "operation_definition": {"max_backups": 10},
        "trigger": TRIGGER,
    }
    return {"policy": wish}


async def organization_policy(caller: Caller) -> Any:
    wish = {
        "name": "org",
        "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
        "policy_name": "nightly",
        "policy_enabled": True,
        "policy_operation_definition": {"max_backups": 10},
        "policy_trigger": TRIGGER,
    }
    return (
        await caller.ok("OrganizationPolicyService/CreateOrganizationPolicy", {"policy": wish})
    ).policy


async def agent(caller: Caller) -> str:
    agent_id = "299332e3-f4c4-5cf4-8dd4-7f98fe25ff54"
    wish = {
        "agent_id": agent_id,
        "host_name": "db-01",
        "host_ip": "192.168.7.21",
        "host_os": "linux",
    }
    await caller.ok("AgentService/RegisterAgent", {"agent": wish})
    return agent_id


async def backup(caller: Caller) -> Any:
    holder = await vault(caller, 1)
    await caller.ok("CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": holder.id}})
    return (await caller.ok("BackupService/ListBackups", {"vault_id": holder.id})).backups[0]


async def shared_backup(owner: Caller) -> str:
    """A backup of the payments project that is offered to the databases project."""
    backup_id = (await backup(owner)).id
    await owner.ok(
        "BackupShareService/AddBackupMembers",
        {"backup_id": backup_id, "project_ids": [DATABASES_PROJECT_ID]},
    )
    return str(backup_id)
