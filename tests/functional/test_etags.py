"""Etags: the same in Get and List, changed by every change to the object and by nothing else; and a
change with an outdated one is not sent.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from cbrgateway.v1 import options_pb2

from gateway.upstream import etags
from tests.functional import stage
from tests.functional.calls import CATALOG, arrived


@dataclass(frozen=True)
class Kind:
    """Of objects with an etag.

    `named`: the field that names one; `changed`: what an update sets.
    """

    word: str
    service: str
    rows: str
    named: str
    changed: Any
    delete: str

    @property
    def get(self):
        return f"{self.service}/Get{self.word.title()}"

    @property
    def list(self):
        return f"{self.service}/List{self.rows.title()}"

    @property
    def update(self):
        return f"{self.service}/Update{self.word.title()}"


KINDS = (
    Kind("vault", "VaultService", "vaults", "vault_id", {"name": "b"}, "DeleteVault"),
    Kind("policy", "PolicyService", "policies", "policy_id", {"name": "b"}, "DeletePolicy"),
    Kind("backup", "BackupService", "backups", "backup_id", {"name": "b"}, "DeleteBackup"),
    Kind(
        "agent",
        "AgentService",
        "agents",
        "agent_id",
        {"status": "AGENT_STATUS_UNINSTALL"},
        "UnregisterAgent",
    ),
)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)


async def made(call, kind):
    """An object of the kind: how requests name it."""
    match kind.word:
        case "vault":
            found = (await stage.vault(call, 1, tags=[{"key": "team", "value": "a"}])).id
        case "policy":
            found = (await stage.policy(call)).id
        case "backup":
            found = (await stage.backup(call)).id
        case _:
            found = await stage.agent(call)
    return {kind.named: found}


async def shown(call, kind, named):
    return getattr(await call.ok(kind.get, named), kind.word)


@each_kind
async def test_a_change_with_an_outdated_etag_is_not_sent(world, payments, kind):
    named = await made(payments, kind)
    first = (await shown(payments, kind, named)).etag
    assert first == (await shown(payments, kind, named)).etag
    (row,) = [
        row
        for row in getattr(await payments.ok(kind.list), kind.rows)
        if getattr(row, "agent_id" if kind.word == "agent" else "id") in named.values()
    ]
    assert row.etag == first
    change = named | {kind.word: kind.changed, "etag": first}
    await payments.ok(kind.update, change)
    delete = f"{kind.service}/{kind.delete}"
    for rpc, request in ((kind.update, change), (delete, named | {"etag": first})):
        before = len(arrived(world, rpc))
        for more in ({}, {"validate_only": True}):
            failed = await payments.fails(rpc, request | more)
            assert (failed.code, failed.reason) == ("ABORTED", "ETAG_MISMATCH")
        assert len(arrived(world, rpc)) == before
    now = (await shown(payments, kind, named)).etag
    assert now != first
    assert failed.facts["etag"] == now
    assert failed.details["ResourceInfo"].resource_name in named.values()
    await payments.ok(delete, named | {"etag": now})


async def test_a_repeat_gets_its_answer_although_the_etag_is_outdated_by_it(world, payments):
    named = {"vault_id": (await stage.vault(payments)).id}
    etag = (await payments.ok("VaultService/GetVault", named)).vault.etag
    wish = named | {"vault": {"name": "b"}, "etag": etag, "request_id": "once"}
    first = await payments.ok("VaultService/UpdateVault", wish)
    assert await payments.ok("VaultService/UpdateVault", wish) == first
    assert len(arrived(world, "VaultService/UpdateVault")) == 1


async def test_use_and_states_do_not_change_the_etag_of_a_vault(world, payments):
    held = await stage.vault(payments, 1)
    named = {"vault_id": held.id}
    before = (await payments.ok("VaultService/GetVault", named)).vault
    await payments.ok("CheckpointService/CreateCheckpoint", {"checkpoint": named})
    world.emulator.state.world.vaults[held.id].status = "lock"
    after = (await payments.ok("VaultService/GetVault", named)).vault
    assert after.billing.used_mib > before.billing.used_mib
    assert after.billing.status != before.billing.status
    assert after.etag == before.etag


@pytest.mark.parametrize(
    ("rpc", "more"),
    [
        ("VaultService/CreateVaultTag", {"tag": {"key": "k", "value": "v"}}),
        ("VaultService/AddVaultResources", {}),
        ("VaultService/UpdateVault", {"vault": {"billing": {"size_gib": 1100}}}),
        ("VaultService/UpdateVault", {"vault": {"smn_notify": False}}),
    ],
)
async def test_every_change_to_a_vault_changes_its_etag(payments, rpc, more):
    named = {"vault_id": (await stage.vault(payments)).id}
    before = (await payments.ok("VaultService/GetVault", named)).vault.etag
    more = more or {"resources": await stage.servers(payments)}
    await payments.ok(rpc, named | more)
    assert (await payments.ok("VaultService/GetVault", named)).vault.etag != before


async def test_what_is_not_there_any_more_has_no_etag_to_compare(payments):
    request = {"vault_id": str(uuid.uuid4()), "etag": 'W/"0123456789abcdef"'}
    assert (await payments.fails("VaultService/DeleteVault", request)).reason == "VAULT_NOT_FOUND"


async def test_an_etag_of_another_form_is_refused_by_name(payments):
    request = {"vault_id": "v", "etag": "0123456789abcdef"}
    failed = await payments.fails("VaultService/DeleteVault", request)
    assert (failed.reason, failed.fields) == ("FIELD_INVALID", ["etag"])


def test_what_is_outside_of_an_etag_is_one_level_below_its_object_at_most():
    for binding in CATALOG:
        for name, _ in etags.objects(binding.descriptor.output_type):
            shown_ = binding.descriptor.output_type.fields_by_name[name].message_type
            reached = {shown_.full_name} | {
                fd.message_type.full_name for fd in shown_.fields if fd.message_type is not None
            }
            declared = {
                message.full_name
                for message in shown_.file.message_types_by_name.values()
                for fd in message.fields
                if fd.GetOptions().Extensions[options_pb2.outside_etag]
            }
            below = {
                fd.message_type.full_name
                for message in shown_.file.message_types_by_name.values()
                if message.full_name in reached
                for fd in message.fields
                if fd.message_type is not None and fd.message_type.full_name not in reached
            }
            assert not declared & below
