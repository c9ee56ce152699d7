"""What the comments of requests say is needed or forbidden is enforced before anything is sent,
with a text that says what to do.
"""

import re

import pytest
from buf.validate import validate_pb2
from google.protobuf import json_format

from gateway.errors import GatewayError, reason_name
from gateway.operations import load_catalog
from gateway.rpc.validation import parse
from gateway.upstream.reference import fields_together

CATALOG = load_catalog()
PROJECT = "00cbf567ab4bc639a32abb3a0dca763a"
BILLING = {
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 100,
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}
PRE_PAID = BILLING | {
    "charging_mode": "CHARGING_MODE_PRE_PAID",
    "period_type": "PERIOD_TYPE_YEAR",
    "period_num": 1,
}
DAILY = "FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"


def vault(billing=BILLING, **more):
    return "VaultService/CreateVault", {"vault": {"name": "v", "billing": billing, **more}}


def order(**more):
    return "VaultService/OrderVault", {"vault": {"name": "v", "billing": PRE_PAID, **more}}


def charging(**more):
    period = {
        "charging_mode": "CHARGING_MODE_PRE_PAID",
        "period_type": "PERIOD_TYPE_YEAR",
        "period_num": 1,
    }
    return "VaultService/ChangeVaultChargingMode", {"vault_ids": ["v"], **period, **more}


def policy(pattern=DAILY, **definition):
    spec = {
        "name": "p",
        "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
        "operation_definition": {"max_backups": 7} | definition,
        "trigger": {"properties": {"pattern": [pattern]}},
    }
    return "PolicyService/CreatePolicy", {"policy": spec}


def checkpoint(**parameters):
    return "CheckpointService/CreateCheckpoint", {
        "checkpoint": {"vault_id": "v", "parameters": parameters}
    }


def members(**more):
    return "BackupShareService/AddBackupMembers", {"backup_id": "b", **more}


def answer_share(status, **more):
    return "BackupShareService/UpdateBackupMember", {
        "backup_id": "b",
        "member_id": "m",
        "status": f"MEMBER_STATUS_{status}",
        **more,
    }


def restore(**target):
    return "BackupService/RestoreBackup", {
        "backup_id": "b",
        "restore": {"power_on": True, **target},
    }


def associate(**policies):
    return "VaultService/AssociateVaultPolicy", {"vault_id": "v", **policies}


def tag(key, value="v"):
    return "VaultService/CreateVaultTag", {"vault_id": "v", "tag": {"key": key, "value": value}}


def delete_tag(key):
    return "VaultService/DeleteVaultTag", {"vault_id": "v", "key": key}


def without(key):
    return {name: value for name, value in PRE_PAID.items() if name != key}


def parsed(rpc, request):
    binding = CATALOG[rpc]
    return binding, parse(
        binding, json_format.ParseDict(request, binding.request_type()).SerializeToString()
    )


YEARLY = {"yearly_retention_rules": {"retention_type": "Monthly", "days_of_month": [0]}}
LONG_TERM = " ".join(
    f"policy.operation_definition.{name}"
    for name in ("day_backups", "week_backups", "month_backups", "year_backups", "timezone")
)
REFUSED = [
    (
        vault(without("period_type")),
        "vault.billing.charging_mode vault.billing.period_type",
        "set period_type",
    ),
    (
        vault(without("period_num")),
        "vault.billing.charging_mode vault.billing.period_num",
        "set period_num",
    ),
    (vault(resources=[{"id": "r", "type": "server"}]), "vault.resources[0].type", "OS::"),
    (policy(day_backups=1), LONG_TERM, "set timezone"),
    (policy(year_backups=1), LONG_TERM, "set timezone"),
    (policy(retention_duration_days=0), "policy.operation_definition.retention_duration_days", "0"),
    (
        policy(advanced_retention_rules=YEARLY),
        "policy.operation_definition.advanced_retention_rules.yearly_retention_rules.days_of_month[0]",
        "0",
    ),
    (policy("every night"), "policy.trigger.properties.pattern[0]", "FREQ=DAILY"),
    (policy("FREQ=HOURLY;BYMINUTE=00"), "policy.trigger.properties.pattern[0]", "FREQ=DAILY"),
    (checkpoint(retention_duration_days=0), "checkpoint.parameters.retention_duration_days", "0"),
    (members(), "project_ids domains", "set project_ids, or domains"),
    (answer_share("ACCEPTED"), "status vault_id", "set vault_id"),
    (
        restore(),
        "restore.server_id restore.volume_id restore.resource_id",
        "server_id, volume_id or resource_id",
    ),
    (associate(), "policy_id add_policy_ids", "exactly one"),
    (tag("a/b"), "tag.key", "control characters"),
    (tag("a|b"), "tag.key", "control characters"),
    (tag("   "), "tag.key", "spaces alone"),
    (delete_tag(" a"), "key", "spaces at its ends"),
    (tag(".."), "tag.key", ".."),
    (tag("a", "x,y"), "tag.value", "control characters"),
    (delete_tag("a\nb"), "key", "control characters"),
    (delete_tag(".."), "key", ".."),
]


@pytest.mark.parametrize(
    ("call", "paths", "text"),
    REFUSED,
    ids=lambda value: value if isinstance(value, str) else value[0].partition("/")[2],
)
def test_a_request_that_breaks_a_rule_of_its_comments_is_refused(call, paths, text):
    with pytest.raises(GatewayError) as caught:
        parsed(*call)
    assert reason_name(caught.value.reason) == "FIELD_INVALID"
    assert [violation.subject for violation in caught.value.violations] == paths.split()
    assert text in caught.value.message


ALLOWED = [
    vault(PRE_PAID),
    vault(auto_bind=False),
    vault(auto_bind=True),
    vault(auto_bind=True, bind_rules={}),
    vault(auto_bind=True, bind_rules={"tags": []}),
    order(auto_bind=True),
    vault(tags=[{"key": f"k{n}", "value": ""} for n in range(20)]),
    (
        "PolicyService/UpdatePolicy",
        {"policy_id": "p", "policy": {"operation_definition": {"day_backups": 1}}},
    ),
    charging(is_auto_pay=True),
    charging(is_auto_renew=True),
    charging(),
    vault(auto_bind=True, bind_rules={"tags": [{"key": "k", "value": ""}]}),
    vault(resources=[{"id": "r", "type": "OS::Something::New"}]),
    policy(day_backups=0),
    policy(day_backups=1, timezone="UTC+08:00"),
    policy(max_backups=0),
    policy(retention_duration_days=-1),
    policy("FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=14;BYMINUTE=00"),
    policy("FREQ=DAILY;BYHOUR=2;BYMINUTE=0"),
    checkpoint(retention_duration_days=-1),
    members(project_ids=["p"]),
    members(domains=["d"]),
    answer_share("REJECTED"),
    answer_share("ACCEPTED", vault_id="v"),
    restore(server_id="s"),
    restore(volume_id="s"),
    restore(resource_id="s"),
    tag("team", "a.b:c%"),
    tag("team", ""),
]


@pytest.mark.parametrize("call", ALLOWED, ids=lambda call: call[0].partition("/")[2])
def test_a_request_that_keeps_them_is_not(call):
    parsed(*call)


@pytest.mark.parametrize(
    "key", ["team", "cost center", "a.b", "...", "名称", "a:b@c", "a#?&;b", "é", "x" * 36]
)
def test_a_tag_that_can_be_created_can_be_deleted(key):
    parsed(*tag(key))
    binding, request = parsed(*delete_tag(key))
    assert re.fullmatch(
        r"/v3/[0-9a-f]+/vault/v/tags/[A-Za-z0-9._~%-]+", binding.target(request, PROJECT)
    )


@pytest.mark.parametrize(
    ("rpc", "request_fields", "text"),
    [
        (
            "VaultService/GetVault",
            {"vault_id": "a/b"},
            "vault_id: must be a single identifier of 1 to 128 letters, digits, '.', '_' and '-'",
        ),
        (
            "TaskService/GetTask",
            {"task_id": "a/b"},
            "task_id: must be a single identifier of 1 to 128 letters, digits, '.', '_' and '-'",
        ),
        (
            "RegionService/ListDomainProjects",
            {"domain_name": "a.b"},
            "domain_name: must be 1 to 64 letters, digits, '_' and '-'",
        ),
    ],
)
def test_a_path_segment_is_refused_with_its_own_rule(rpc, request_fields, text):
    binding, request = parsed(rpc, request_fields)
    with pytest.raises(GatewayError) as caught:
        binding.target(request, PROJECT)
    assert caught.value.message == text


def messages_with_rules(descriptor):
    if descriptor.GetOptions().HasExtension(validate_pb2.message):
        yield descriptor
    for fd in descriptor.fields:
        if fd.message_type is not None and fd.message_type.file.package == descriptor.file.package:
            yield from messages_with_rules(fd.message_type)


def test_every_rule_of_a_message_is_about_fields_that_it_has():
    found = {
        message.full_name: message
        for binding in CATALOG
        for message in messages_with_rules(binding.descriptor.input_type)
    }
    assert len(found) > 5
    for message in found.values():
        for rule in message.GetOptions().Extensions[validate_pb2.message].cel:
            ways = fields_together(message, rule.id)
            assert ways, rule.id
            for way in ways:
                here = message
                for name in way.split("."):
                    here = here.fields_by_name[name].message_type
