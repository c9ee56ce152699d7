"""A change takes away what its caller wants to take away, and nothing else."""

import pytest
from cbrgateway.v1 import quota_pb2
from google.protobuf import json_format

from tests.functional.calls import arrived, order

BILLING = {
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 800,
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}
LADDER = {"max_backups": 9, "day_backups": 3, "week_backups": 2, "timezone": "UTC+08:00", "retention_duration_days": 20}
TRIGGER = {"properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]}}


async def policy_id(payments, definition=None):
    spec = {"name": "p", "operation_type": "POLICY_OPERATION_TYPE_BACKUP", "operation_definition": definition or LADDER, "trigger": TRIGGER}
    return (await payments("PolicyService/CreatePolicy", {"policy": spec})).policy.id


def definition(policy):
    return {fd.name: value for fd, value in policy.operation_definition.ListFields() if fd.name not in {"created_by", "full_backup_interval"}}


async def test_an_update_of_a_part_of_the_definition_keeps_the_rest(payments):
    known = await policy_id(payments)
    patch = {"policy_id": known, "policy": {"operation_definition": {"max_backups": 5}}}
    changed = await payments("PolicyService/UpdatePolicy", patch)
    assert definition(changed.policy) == LADDER | {"max_backups": 5}
    shown = await payments("PolicyService/GetPolicy", {"policy_id": known})
    assert definition(shown.policy) == LADDER | {"max_backups": 5}


async def test_a_retention_ends_where_the_caller_says_so(payments):
    known = await policy_id(payments)
    patch = {"policy_id": known, "policy": {"operation_definition": {"retention_duration_days": -1, "day_backups": 0, "max_backups": 5}}}
    changed = await payments("PolicyService/UpdatePolicy", patch)
    assert definition(changed.policy) == LADDER | {"retention_duration_days": -1, "day_backups": 0, "max_backups": 5}


async def test_an_update_of_the_long_term_counts_keeps_their_zone(payments):
    known = await policy_id(payments)
    changed = await payments.ok("PolicyService/UpdatePolicy", {"policy_id": known, "policy": {"operation_definition": {"day_backups": 7}}})
    assert definition(changed.policy) == LADDER | {"day_backups": 7}


async def test_an_update_without_the_definition_reads_nothing_first(world, payments):
    known = await policy_id(payments)
    before = len(arrived(world, "PolicyService/GetPolicy"))
    changed = await payments("PolicyService/UpdatePolicy", {"policy_id": known, "policy": {"enabled": False}})
    assert definition(changed.policy) == LADDER
    assert len(arrived(world, "PolicyService/GetPolicy")) == before


async def test_an_update_whose_first_read_fails_changes_nothing(world, payments):
    known = await policy_id(payments)
    order(world, "status", "PolicyService/GetPolicy", status=403, body={"error_code": "PAP5.0001", "error_msg": "m"}, times=None)
    patch = {"policy_id": known, "policy": {"operation_definition": {"max_backups": 5}}}
    failed = await payments.fails("PolicyService/UpdatePolicy", patch)
    assert failed.reason == "UPSTREAM_PERMISSION"
    assert not arrived(world, "PolicyService/UpdatePolicy")


async def test_an_update_whose_answer_is_lost_is_settled_by_what_was_asked(world, payments):
    known = await policy_id(payments)
    order(world, "cut", "PolicyService/UpdatePolicy", when="after_commit")
    changed = await payments("PolicyService/UpdatePolicy", {"policy_id": known, "policy": {"operation_definition": {"max_backups": 5}}})
    assert definition(changed.policy) == LADDER | {"max_backups": 5}
    assert len(arrived(world, "PolicyService/UpdatePolicy")) == 1


@pytest.mark.parametrize("rules", [{}, {"tags": []}])
async def test_the_tags_that_bind_are_taken_away(payments, rules):
    spec = {"name": "v", "billing": BILLING, "auto_bind": True, "bind_rules": {"tags": [{"key": "k", "value": "v"}]}}
    vault = (await payments("VaultService/CreateVault", {"vault": spec})).vault
    assert [tag.key for tag in vault.bind_rules.tags] == ["k"]
    kept = await payments("VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"name": "w"}})
    assert [tag.key for tag in kept.vault.bind_rules.tags] == ["k"]
    cleared = await payments("VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"bind_rules": rules}})
    assert not cleared.vault.bind_rules.tags


async def test_what_the_cloud_allows_is_not_refused(payments):
    tags = [{"key": f"k{n}", "value": ""} for n in range(11)]
    vault = {"name": "v", "billing": BILLING, "auto_bind": True}
    made = (await payments("VaultService/CreateVault", {"vault": vault})).vault
    assert made.auto_bind
    assert not made.bind_rules.tags
    check = payments.channel.unary_unary(
        "/cbrgateway.v1.QuotaService/CheckQuota",
        request_serializer=quota_pb2.CheckQuotaRequest.SerializeToString,
        response_deserializer=quota_pb2.CheckQuotaResponse.FromString,
    )
    asked = json_format.ParseDict({"create_vault": {"vault": vault | {"tags": tags}}}, quota_pb2.CheckQuotaRequest())
    tried = await check(asked, metadata=payments.metadata, timeout=10)
    assert tried.allowed
    assert [(warning.field, warning.rule) for warning in tried.warnings] == [("create_vault.vault.tags", "repeated.max_items")]
    period = {"charging_mode": "CHARGING_MODE_PRE_PAID", "period_type": "PERIOD_TYPE_YEAR", "period_num": 1, "is_auto_pay": True}
    assert (await payments("VaultService/ChangeVaultChargingMode", {"vault_ids": [made.id], **period})).order_id
