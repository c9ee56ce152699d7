"""A change takes away what its caller wants to take away, and nothing else."""

import json

import pytest
from cbrgateway.v1 import quota_pb2
from google.protobuf import json_format

from tests.functional.calls import arrived, caller, order, tenant_for

BILLING = {
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 800,
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}
LADDER = {
    "max_backups": 9,
    "day_backups": 3,
    "week_backups": 2,
    "timezone": "UTC+08:00",
    "retention_duration_days": 20,
}
TRIGGER = {"properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]}}


async def policy_id(payments, definition=None):
    spec = {
        "name": "p",
        "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
        "operation_definition": definition or LADDER,
        "trigger": TRIGGER,
    }
    return (await payments("PolicyService/CreatePolicy", {"policy": spec})).policy.id


def definition(policy):
    return {
        fd.name: value
        for fd, value in policy.operation_definition.ListFields()
        if fd.name not in {"created_by", "full_backup_interval"}
    }


async def test_an_update_of_a_part_of_the_definition_keeps_the_rest(payments):
    known = await policy_id(payments)
    patch = {"policy_id": known, "policy": {"operation_definition": {"max_backups": 5}}}
    changed = await payments("PolicyService/UpdatePolicy", patch)
    assert definition(changed.policy) == LADDER | {"max_backups": 5}
    shown = await payments("PolicyService/GetPolicy", {"policy_id": known})
    assert definition(shown.policy) == LADDER | {"max_backups": 5}


async def test_a_definition_that_was_read_can_be_sent_back(world, payments):
    known = await policy_id(payments)
    shown = (
        await payments.ok("PolicyService/GetPolicy", {"policy_id": known})
    ).policy.operation_definition
    shown.created_by = "customer"
    patch = {
        "policy_id": known,
        "policy": {
            "operation_definition": json_format.MessageToDict(
                shown, preserving_proto_field_name=True
            )
        },
    }
    await payments.ok("PolicyService/UpdatePolicy", patch)
    (sent,) = arrived(world, "PolicyService/UpdatePolicy")
    assert "created_by" not in sent.body


async def test_a_retention_ends_where_the_caller_says_so(payments):
    known = await policy_id(payments)
    patch = {
        "policy_id": known,
        "policy": {
            "operation_definition": {
                "retention_duration_days": -1,
                "day_backups": 0,
                "max_backups": 5,
            }
        },
    }
    changed = await payments("PolicyService/UpdatePolicy", patch)
    assert definition(changed.policy) == LADDER | {
        "retention_duration_days": -1,
        "day_backups": 0,
        "max_backups": 5,
    }


async def test_an_update_of_the_long_term_counts_keeps_their_zone(payments):
    known = await policy_id(payments)
    changed = await payments.ok(
        "PolicyService/UpdatePolicy",
        {"policy_id": known, "policy": {"operation_definition": {"day_backups": 7}}},
    )
    assert definition(changed.policy) == LADDER | {"day_backups": 7}


async def test_an_update_without_the_definition_reads_nothing_first(world, payments):
    known = await policy_id(payments)
    before = len(arrived(world, "PolicyService/GetPolicy"))
    changed = await payments(
        "PolicyService/UpdatePolicy", {"policy_id": known, "policy": {"enabled": False}}
    )
    assert definition(changed.policy) == LADDER
    assert len(arrived(world, "PolicyService/GetPolicy")) == before


async def test_an_update_whose_first_read_fails_changes_nothing(world, payments):
    known = await policy_id(payments)
    order(
        world,
        "status",
        "PolicyService/GetPolicy",
        status=403,
        body={"error_code": "PAP5.0001", "error_msg": "m"},
        times=None,
    )
    patch = {"policy_id": known, "policy": {"operation_definition": {"max_backups": 5}}}
    failed = await payments.fails("PolicyService/UpdatePolicy", patch)
    assert failed.reason == "UPSTREAM_PERMISSION"
    assert not arrived(world, "PolicyService/UpdatePolicy")


async def test_an_update_whose_answer_is_lost_is_settled_by_what_was_asked(world, payments):
    known = await policy_id(payments)
    order(world, "cut", "PolicyService/UpdatePolicy", when="after_commit")
    changed = await payments(
        "PolicyService/UpdatePolicy",
        {"policy_id": known, "policy": {"operation_definition": {"max_backups": 5}}},
    )
    assert definition(changed.policy) == LADDER | {"max_backups": 5}
    assert len(arrived(world, "PolicyService/UpdatePolicy")) == 1


BOTH = pytest.mark.parametrize(
    ("service", "part"),
    [("Policy", "operation_definition"), ("OrganizationPolicy", "policy_operation_definition")],
    ids=["policy", "organization"],
)
NEWER = {
    "max_backups": 9,
    "timezone": "UTC+08:00",
    "created_by": {"kind": "customer"},
    "day_backups": "many",
    "enable_acceleration": "true",
    "keep_last": 3,
    "none": None,
    "tiers": [{"name": "cold", "after": 30}],
    "advanced_retention_rules": {"weekly_retention_rules": {"days_of_week": ["MO"], "skip": 1}},
}
"""A definition of a later version of CBR, with a count that nobody can read."""


@BOTH
async def test_what_this_version_does_not_know_of_a_definition_stays(world, service, part):
    rpc = f"{service}Service/{{}}{service}".format
    known = {f"{'organization_' if service != 'Policy' else ''}policy_id": "p"}
    shown = {"policy": {"id": "p", part: NEWER}}
    # The guard of retention looks, too.
    order(world, "status", rpc("Get"), status=200, body=shown, times=None)
    order(world, "status", rpc("Update"), status=200, body={"policy": {"id": "p"}})
    who = caller(world, tenant_for(rpc("Update")))
    await who.ok(rpc("Update"), known | {"policy": {part: {"max_backups": 5}}})
    (sent,) = arrived(world, rpc("Update"))
    kept = {key: value for key, value in NEWER.items() if key not in {"created_by", "none"}}
    assert json.loads(sent.body)["policy"] == {
        part: kept | {"max_backups": 5, "enable_acceleration": True}
    }


ABSENT = object()


async def updated(world, service, part, shown, definition):
    """How the update of a definition ends of which CBR shows this, and what was sent."""
    rpc = f"{service}Service/{{}}{service}".format
    known = {f"{'organization_' if service != 'Policy' else ''}policy_id": "p"}
    policy = {"id": "p"} if shown is ABSENT else {"id": "p", part: shown}
    order(world, "status", rpc("Get"), status=200, body={"policy": policy}, times=None)
    order(world, "status", rpc("Update"), status=200, body={"policy": {"id": "p"}})
    ended = await caller(world, tenant_for(rpc("Update")))(
        rpc("Update"), known | {"policy": {part: definition}}
    )
    return ended, [json.loads(sent.body)["policy"][part] for sent in arrived(world, rpc("Update"))]


@BOTH
@pytest.mark.parametrize(
    "shown",
    [ABSENT, None, [], ["x"], "text", "", 5, True],
    ids=lambda shown: "absent" if shown is ABSENT else repr(shown),
)
async def test_nothing_is_sent_where_the_definition_that_would_be_replaced_is_not_shown(
    world, service, part, shown
):
    refused, sent = await updated(world, service, part, shown, {"max_backups": 5})
    assert sent == []
    assert refused.reason == "UPSTREAM_PROTOCOL"
    assert f"policy.{part} cannot be read now" in refused.message
    assert "Nothing was sent" in refused.message


@BOTH
@pytest.mark.parametrize(
    "setting",
    [r'"keep_last":"\ud800"', '"max_backups":1e400', '"tiers":[{"days":NaN}]'],
)
async def test_nothing_is_sent_where_a_setting_cannot_be_sent_back_as_it_came(
    world, service, part, setting
):
    rpc = f"{service}Service/{{}}{service}".format
    known = {f"{'organization_' if service != 'Policy' else ''}policy_id": "p"}
    answer = f'{{"policy":{{"id":"p","{part}":{{{setting}}}}}}}'
    order(world, "status", rpc("Get"), status=200, body=answer, times=None)
    order(world, "status", rpc("Update"), status=200, body={"policy": {"id": "p"}})
    refused = await caller(world, tenant_for(rpc("Update")))(
        rpc("Update"), known | {"policy": {part: {"day_backups": 5}}}
    )
    assert arrived(world, rpc("Update")) == []
    assert f"policy.{part} cannot be read now" in refused.message


@BOTH
async def test_a_definition_without_settings_is_filled_up_from_nothing(world, service, part):
    _, sent = await updated(world, service, part, {}, {"max_backups": 5})
    assert sent == [{"max_backups": 5}]


WHOLE = {
    **{f"{each}_backups": 1 for each in ("day", "week", "month", "year")},
    "timezone": "UTC+08:00",
    "max_backups": 5,
    "retention_duration_days": -1,
    "full_backup_interval": -1,
    "destination_project_id": "0605767b5780d5762fc5c0118072a564",
    "destination_region": "r",
    "enable_acceleration": False,
    "cross_account_urn": "urn",
    "advanced_retention_rules": {},
}


@BOTH
async def test_who_sets_every_field_of_a_definition_needs_none_to_be_shown(world, service, part):
    _, sent = await updated(world, service, part, None, WHOLE)
    assert sent == [WHOLE]


async def test_an_update_of_a_part_of_an_organizations_definition_keeps_the_rest(world):
    admin = caller(world, "admin")
    spec = {
        "name": "o",
        "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
        "policy_name": "p",
        "policy_enabled": True,
    }
    spec |= {"policy_operation_definition": LADDER, "policy_trigger": TRIGGER}
    made = (
        await admin.ok("OrganizationPolicyService/CreateOrganizationPolicy", {"policy": spec})
    ).policy
    patch = {
        "organization_policy_id": made.id,
        "policy": {"policy_operation_definition": {"max_backups": 5}},
    }
    changed = await admin.ok("OrganizationPolicyService/UpdateOrganizationPolicy", patch)
    shown = await admin.ok(
        "OrganizationPolicyService/GetOrganizationPolicy", {"organization_policy_id": made.id}
    )
    for policy in (changed.policy, shown.policy):
        kept = {fd.name: value for fd, value in policy.policy_operation_definition.ListFields()}
        assert kept == LADDER | {"max_backups": 5}


async def test_a_server_bound_again_with_other_disks_left_out_is_settled_by_its_selection(
    world, payments
):
    """The answer is lost before CBR did anything: the selection that is still there is no success,
    and not the end either.
    """
    item = next(
        each
        for each in world.emulator.state.world.protectables.values()
        if each.kind == "server" and len(each.children) > 1
    )
    server = {"id": item.id, "type": item.type}
    disk = item.children[0].id
    left_out = {"exclude_volumes": [disk]}
    spec = {"name": "v", "billing": BILLING, "resources": [server | {"extra_info": left_out}]}
    vault = (await payments.ok("VaultService/CreateVault", {"vault": spec})).vault
    for selection, shown in (({"include_volumes": [{"id": disk}]}, []), ({}, [])):
        order(world, "cut", "VaultService/AddVaultResources", when="before_commit")
        await payments.ok(
            "VaultService/AddVaultResources",
            {"vault_id": vault.id, "resources": [server | {"extra_info": selection}]},
        )
        (now,) = (
            await payments.ok("VaultService/GetVault", {"vault_id": vault.id})
        ).vault.resources
        assert list(now.extra_info.exclude_volumes) == shown
        assert [each.id for each in now.extra_info.include_volumes] == [
            each["id"] for each in selection.get("include_volumes", [])
        ]


async def test_a_server_bound_again_without_a_selection_keeps_its_own(world, payments):
    item = next(
        each
        for each in world.emulator.state.world.protectables.values()
        if each.kind == "server" and len(each.children) > 1
    )
    server, left_out = {"id": item.id, "type": item.type}, [item.children[0].id]
    spec = {
        "name": "v",
        "billing": BILLING,
        "resources": [server | {"extra_info": {"exclude_volumes": left_out}}],
    }
    vault = (await payments.ok("VaultService/CreateVault", {"vault": spec})).vault
    await payments("VaultService/AddVaultResources", {"vault_id": vault.id, "resources": [server]})
    (now,) = (await payments.ok("VaultService/GetVault", {"vault_id": vault.id})).vault.resources
    assert list(now.extra_info.exclude_volumes) == left_out


async def test_a_tag_whose_key_holds_a_percent_sign_is_set_and_deleted(payments):
    vault = (
        await payments.ok("VaultService/CreateVault", {"vault": {"name": "v", "billing": BILLING}})
    ).vault
    known = {"vault_id": vault.id}
    for key in ("50%", "%", "%2e%2e", "a%2fb"):
        await payments.ok(
            "VaultService/CreateVaultTag", known | {"tag": {"key": key, "value": "v"}}
        )
    for key in ("50%", "%"):
        await payments.ok("VaultService/DeleteVaultTag", known | {"key": key})
    refused = await payments.fails("VaultService/DeleteVaultTag", known | {"key": "%2e%2e"})
    assert (refused.reason, refused.fields) == ("FIELD_INVALID", ["key"])
    assert "BatchUpdateVaultTags" in refused.message
    rest = [{"key": key, "value": "v"} for key in ("%2e%2e", "a%2fb")]
    await payments.ok(
        "VaultService/BatchUpdateVaultTags", known | {"action": "TAG_ACTION_DELETE", "tags": rest}
    )
    assert not (await payments.ok("VaultService/ListVaultTags", known)).tags


@pytest.mark.parametrize("rules", [{}, {"tags": []}])
async def test_the_tags_that_bind_are_taken_away(payments, rules):
    spec = {
        "name": "v",
        "billing": BILLING,
        "auto_bind": True,
        "bind_rules": {"tags": [{"key": "k", "value": "v"}]},
    }
    vault = (await payments("VaultService/CreateVault", {"vault": spec})).vault
    assert [tag.key for tag in vault.bind_rules.tags] == ["k"]
    kept = await payments(
        "VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"name": "w"}}
    )
    assert [tag.key for tag in kept.vault.bind_rules.tags] == ["k"]
    cleared = await payments(
        "VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"bind_rules": rules}}
    )
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
    asked = json_format.ParseDict(
        {"create_vault": {"vault": vault | {"tags": tags}}}, quota_pb2.CheckQuotaRequest()
    )
    tried = await check(asked, metadata=payments.metadata, timeout=10)
    assert tried.allowed
    assert [(warning.field, warning.rule) for warning in tried.warnings] == [
        ("create_vault.vault.tags", "repeated.max_items")
    ]
    period = {
        "charging_mode": "CHARGING_MODE_PRE_PAID",
        "period_type": "PERIOD_TYPE_YEAR",
        "period_num": 1,
        "is_auto_pay": True,
    }
    assert (
        await payments("VaultService/ChangeVaultChargingMode", {"vault_ids": [made.id], **period})
    ).order_id
