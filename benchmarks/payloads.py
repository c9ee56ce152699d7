"""What CBR would answer: one vault of about 1.2 KB and a page of 50 of them, about 60 KB."""

from typing import Any, Final

import msgspec

PROJECT_ID: Final = "3f1c90b8d2a64e7794c05b1fa8e26d70"
VAULT_ID: Final = "6d0f3a52-91c7-4be8-a3f4-0c2b7e95d148"
CHECKPOINT_ID: Final = "8f0c8d64-2b3e-4c1a-9a55-7d1e20000000"
ROWS: Final = 50
NEW_VAULT: Final = {
    "name": "orders-000",
    "billing": {
        "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
        "object_type": "OBJECT_TYPE_SERVER",
        "protect_type": "PROTECT_TYPE_BACKUP",
        "size_gib": 200,
    },
}
"""What a caller of the gateway asks CreateVault for."""


def vault() -> dict[str, Any]:
    """`{"vault": {...}}` as ShowVault answers it, with two protected servers."""
    return {"vault": _vault(0)}


def vaults() -> dict[str, Any]:
    """`{"vaults": [...], "count": 50}` as ListVault answers it."""
    return {"vaults": [_vault(number) for number in range(ROWS)], "count": ROWS}


def checkpoint() -> dict[str, Any]:
    """`{"checkpoint": {...}}` as CreateCheckpoint answers it, of a vault with two servers."""
    vault = {
        "id": VAULT_ID,
        "name": "orders-000",
        "resources": [_named(0), _named(1)],
        "skipped_resources": [],
    }
    return {
        "checkpoint": {
            "id": CHECKPOINT_ID,
            "created_at": "2026-03-25T06:32:07.951164",
            "project_id": PROJECT_ID,
            "status": "protecting",
            "vault": vault,
        }
    }


def checkpoint_id(number: int) -> str:
    """As long as CHECKPOINT_ID."""
    return f"{CHECKPOINT_ID[:-8]}{number:08x}"


def encode(value: object) -> bytes:
    """JSON without blanks, as CBR writes it."""
    return msgspec.json.encode(value)


def _vault(number: int) -> dict[str, Any]:
    return {
        "id": f"{VAULT_ID[:-4]}{number:04x}" if number else VAULT_ID,
        "name": f"orders-{number:03}",
        "description": None,
        "resources": [_resource(2 * number), _resource(2 * number + 1)],
        "provider_id": "0daac4c5-6707-4851-97ba-169e36266b66",
        "created_at": "2026-03-25T06:32:07.951164",
        "project_id": PROJECT_ID,
        "enterprise_project_id": "0",
        "auto_bind": False,
        "bind_rules": {},
        "auto_expand": False,
        "smn_notify": True,
        "threshold": 80,
        "user_id": "8a0e5d7c41b94f2c9f6d3b72e1c0a583",
        "billing": {
            "allocated": 120,
            "cloud_type": "public",
            "consistent_level": "crash_consistent",
            "charging_mode": "post_paid",
            "order_id": None,
            "product_id": None,
            "protect_type": "backup",
            "object_type": "server",
            "spec_code": "vault.backup.server.normal",
            "is_multi_az": False,
            "used": 8324,
            "status": "available",
            "size": 200,
        },
        "tags": [{"key": "team", "value": "orders"}],
        "locked": False,
    }


def _named(number: int) -> dict[str, Any]:
    return {key: value for key, value in _resource(number).items() if key in {"id", "type", "name"}}


def _resource(number: int) -> dict[str, Any]:
    return {
        "id": f"14e0d7db-5f3b-4550-ade6-{number:012x}",
        "type": "OS::Nova::Server",
        "name": f"order-server-{number:03}",
        "auto_protect": True,
        "size": 40,
        "backup_size": 3120,
        "backup_count": 4,
        "protect_status": "available",
        "extra_info": {},
    }
