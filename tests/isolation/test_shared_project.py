"""What a tenant can and cannot do in a project that it shares, from its own point of view."""

import asyncio
import re
from pathlib import Path

import pytest
from cbrgateway.v1 import options_pb2 as options
from cbrgateway.v1 import quota_pb2, quota_pb2_grpc
from google.protobuf import json_format

from emulator import settings as emulated
from gateway.operations import load_catalog
from gateway.upstream.ownership import within_reach
from gateway.upstream.wire import rows_field
from tests.functional import stage
from tests.functional.calls import BINDINGS, caller
from tests.isolation.requests import request_with
from tests.isolation.tenants import APART, KEYS, NEAR_PART, SHARED, TWIN_PART, named, nobodys

LISTS = [
    rpc
    for rpc, binding in BINDINGS.items()
    if binding.paging and not binding.for_administrators and within_reach(binding)
]
SCOPED = {
    "BackupShareService/ListBackupMembers": options.REFERS_BACKUP,
    "VaultService/ListVaultTags": options.REFERS_VAULT,
}
TENANTS_PAGE = Path(__file__).parents[2] / "docs" / "tenants.md"
READS = {binding.operation for binding in BINDINGS.values() if binding.reads}


def refused_by_the_page():
    """The RPCs in the first column of the table of what is refused."""
    table = (
        TENANTS_PAGE.read_text(encoding="utf-8")
        .partition("| refused | instead |")[2]
        .partition("\n\n")[0]
    )
    return {
        word
        for row in table.splitlines()
        if row.count("|") > 2
        for word in re.findall(r"[A-Z]\w+", row.split("|")[1])
    }


def plain(rpc, stock, **more):
    """A request for a whole list."""
    fields = {"protectable_type": "PROTECTABLE_TYPE_SERVER"} if "Protectable" in rpc else {}
    if rpc in SCOPED:
        fields = {"backup_id" if "Member" in rpc else "vault_id": stock.ids[SCOPED[rpc]]}
    return fields | more


def rows(rpc, answer):
    return list(getattr(answer, rows_field(BINDINGS[rpc].descriptor.output_type)))


def changes(world, since):
    return [
        entry for entry in world.emulator.state.truth.entries(since) if entry.operation not in READS
    ]


@pytest.mark.parametrize("rpc", LISTS)
async def test_a_list_holds_what_is_ones_own(stocks, rpc):
    near, twin = stocks["near"], stocks["twin"]
    whole = await near.call.ok(rpc, plain(rpc, near))
    shown = json_format.MessageToJson(whole)
    others = set(twin.ids.values()) - set(near.ids.values())
    assert not [each for each in others if each in shown]
    paged, token = [], ""
    while True:
        page = await near.call.ok(rpc, plain(rpc, near, page_size=1, page_token=token))
        assert page.total_size == whole.total_size
        paged += rows(rpc, page)
        token = page.next_page_token
        if not token:
            break
        foreign = await twin.call.fails(rpc, plain(rpc, near, page_size=1, page_token=token))
        assert foreign.reason == "PAGE_TOKEN_MISMATCH"
    assert paged == rows(rpc, whole)
    assert len(paged) == whole.total_size


async def test_lists_are_not_empty_for_their_owners(stocks):
    for rpc in (
        "VaultService/ListVaults",
        "BackupService/ListBackups",
        "TaskService/ListTasks",
        "PolicyService/ListPolicies",
    ):
        assert rows(rpc, await stocks["near"].call.ok(rpc, {})), rpc


async def test_a_protected_server_is_shown_to_its_owner_and_a_free_one_to_all(stocks):
    async def names(tenant):
        found = await stocks[tenant].call.ok(
            "ProtectabilityService/ListProtectables",
            {"protectable_type": "PROTECTABLE_TYPE_SERVER"},
        )
        return {row.name for row in found.instances}

    near, twin = await names("near"), await names("twin")
    assert near ^ twin == {"server-01", "server-02"}
    assert "server-03" in near & twin


async def test_what_is_created_is_ones_own(world, stocks):
    call = stocks["near"].call
    made = (await call.ok("VaultService/CreateVault", stage.vault_request("stamped"))).vault
    assert made.enterprise_project_id == NEAR_PART
    assert (
        await call.ok(
            "VaultService/CreateVault", stage.vault_request("said", enterprise_project_id=NEAR_PART)
        )
    ).vault
    since = world.emulator.state.truth._seq
    for other in (TWIN_PART, "0", nobodys()):
        failed = await call.fails(
            "VaultService/CreateVault", stage.vault_request("foreign", enterprise_project_id=other)
        )
        assert (failed.reason, failed.fields) == ("FIELD_INVALID", ["vault.enterprise_project_id"])
    moved = {
        "vault_id": made.id,
        "action": "TAG_ACTION_CREATE",
        "system_tags": [{"key": "_sys_enterprise_project_id", "value": TWIN_PART}],
    }
    assert (await call.fails("VaultService/BatchUpdateVaultTags", moved)).fields == [
        "system_tags[0].value"
    ]
    assert changes(world, since) == []


async def test_exactly_the_rpcs_of_the_whole_project_are_refused(world, stocks):
    since, near = world.emulator.state.truth._seq, stocks["near"]
    wanted = refused_by_the_page()
    refused = set()
    for rpc, binding in BINDINGS.items():
        if not binding.for_administrators and (binding.reads or rpc.partition("/")[2] in wanted):
            answer = await near.call(rpc, request_with(rpc, near.ids))
            refused |= (
                {rpc.partition("/")[2]}
                if getattr(answer, "reason", "") == "PROJECT_SHARED"
                else set()
            )
    assert refused == wanted
    assert changes(world, since) == []
    closed = {
        b.descriptor.name
        for b in load_catalog()
        if not (within_reach(b) or b.custom or b.for_administrators)
    }
    assert closed == wanted - {"UpdateOrder"}


async def test_a_policy_is_whose_name_it_begins_with(stocks):
    call, kept = stocks["near"].call, stocks["near"].ids[options.REFERS_POLICY]
    for name in ("nightly", f"{TWIN_PART}-nightly", NEAR_PART):
        failed = await call.fails("PolicyService/CreatePolicy", stage.policy_request(name))
        assert (failed.reason, failed.fields) == ("FIELD_INVALID", ["policy.name"])
        assert (
            await call.fails(
                "PolicyService/UpdatePolicy", {"policy_id": kept, "policy": {"name": name}}
            )
        ).fields == ["policy.name"]
    assert (
        await call.ok(
            "PolicyService/UpdatePolicy",
            {"policy_id": kept, "policy": {"name": named("near", "kept-2")}},
        )
    ).policy.id == kept


async def test_a_request_id_says_nothing_to_another_tenant(stocks):
    wish = {**stage.vault_request("once"), "request_id": "the-same-id"}
    first, again, other = [
        await stocks[tenant].call.ok("VaultService/CreateVault", wish)
        for tenant in ("near", "near", "twin")
    ]
    assert first == again
    assert (other.vault.enterprise_project_id, first.vault.enterprise_project_id) == (
        TWIN_PART,
        NEAR_PART,
    )
    assert other.vault.id != first.vault.id


async def test_a_repeated_delete_is_still_answered_as_the_first(stocks):
    call = stocks["near"].call
    made = (await call.ok("VaultService/CreateVault", stage.vault_request("short"))).vault
    for _ in range(2):
        await call.ok(
            "VaultService/DeleteVault", {"vault_id": made.id, "request_id": "delete-once"}
        )
    assert (
        await call.fails("VaultService/DeleteVault", {"vault_id": made.id})
    ).reason == "VAULT_NOT_FOUND"


async def test_the_task_of_a_vault_that_is_gone_stays_its_owners(stocks):
    call = stocks["near"].call
    gone = stocks["near"].gone[options.REFERS_VAULT]
    (task,) = (
        await call.ok("TaskService/ListTasks", {"vault_id": gone, "type": "TASK_TYPE_VAULT_DELETE"})
    ).tasks
    assert (await call.ok("TaskService/GetTask", {"task_id": task.id})).task == task
    assert (
        await stocks["twin"].call.fails("TaskService/GetTask", {"task_id": task.id})
    ).reason == "TASK_NOT_FOUND"


async def test_backup_restore_and_replication_work_within_ones_own(stocks):
    call, ids = stocks["near"].call, stocks["near"].ids
    backup = (
        await call.ok("BackupService/GetBackup", {"backup_id": ids[options.REFERS_BACKUP]})
    ).backup
    mapping = {"backup_id": backup.children[0].id, "volume_id": ids[options.REFERS_DISK]}
    restore = {
        "backup_id": backup.id,
        "restore": {"server_id": ids[options.REFERS_RESOURCE], "mappings": [mapping]},
    }
    task_id = (await call.ok("BackupService/RestoreBackup", restore)).task_id
    assert (await call.ok("TaskService/GetTask", {"task_id": task_id})).task.vault_id == ids[
        options.REFERS_VAULT
    ]
    there = {
        "destination_project_id": emulated.STANDBY_PROJECT_ID,
        "destination_region": "cn-east-3",
        "destination_vault_id": ids[options.REFERS_DESTINATION_VAULT],
    }
    assert (
        await call.ok("BackupService/ReplicateBackup", {"backup_id": backup.id, "replicate": there})
    ).replication.backup_id == backup.id


async def test_a_project_for_oneself_costs_no_look_ups(world, stocks):
    for tenant, calls in (("far", 1), ("near", 2)):
        vault_id, since = stocks[tenant].ids[options.REFERS_VAULT], world.emulator.state.truth._seq
        await stocks[tenant].call.ok("VaultService/GetVault", {"vault_id": vault_id})
        assert (
            len(
                [
                    entry
                    for entry in world.emulator.state.truth.entries(since)
                    if vault_id in entry.target
                ]
            )
            == calls
        )


async def test_limits_of_a_project_count_ones_own_part(world, stocks):
    async def counted(tenant, place):
        await world.app.recovery.recounter.run()
        usages = await usages_of(world, tenant)
        assert all(place in name for name in usages if ":project:" in name)
        return {metric: usages[f"{metric}:project:{place}"] for metric in ("vaults", "policies")}

    for tenant, place in (
        ("near", f"{SHARED}/{NEAR_PART}"),
        ("twin", f"{SHARED}/{TWIN_PART}"),
        ("far", APART),
    ):
        call = stocks[tenant].call
        vaults, policies = (
            await call.ok("VaultService/ListVaults"),
            await call.ok("PolicyService/ListPolicies"),
        )
        wanted = {"vaults": vaults.total_size, "policies": policies.total_size}
        async with asyncio.timeout(60):
            # What was deleted just now is given back in the background.
            while await counted(tenant, place) != wanted:
                pass


async def usages_of(world, tenant):
    service = quota_pb2_grpc.QuotaServiceStub(world.channel)
    answer = await service.ListUsages(
        quota_pb2.ListUsagesRequest(), metadata=caller(world, KEYS[tenant]).metadata
    )
    return {usage.name: usage.used for usage in answer.usages}


async def test_a_quota_check_tells_nothing_of_a_foreign_vault(world, stocks):
    service = quota_pb2_grpc.QuotaServiceStub(world.channel)
    answers = []
    for vault_id in (
        stocks["twin"].ids[options.REFERS_VAULT],
        stocks["far"].ids[options.REFERS_VAULT],
        nobodys(),
    ):
        request = quota_pb2.CheckQuotaRequest()
        request.update_vault.vault_id = vault_id
        request.update_vault.vault.billing.size_gib = 2000
        answers.append(await service.CheckQuota(request, metadata=stocks["near"].call.metadata))
    assert answers == [answers[0]] * 3
    assert not answers[0].verdicts


def test_no_other_rpc_reads_ids_by_itself():
    """The matrix calls what the engine serves.

    A handler written by hand needs a test here for each id that it takes.
    """
    assert {binding.rpc for binding in load_catalog() if binding.custom and binding.id_fields} == {
        "QuotaService/CheckQuota",
        "TaskService/WaitTask",
        "TaskService/WatchTasks",
    }


REPORTS = {
    "GetProtectionSummary": {},
    "ListUnprotectedResources": {"page_size": 200},
    "ListExpiringBackups": {"within": "31600000s"},
    "GenerateReport": {"page_size": 200},
}


@pytest.mark.parametrize("rpc", REPORTS)
async def test_reports_tell_of_ones_own_part_alone(world, stocks, rpc):
    theirs, own = stocks["twin"].ids, stocks["near"].ids
    answer = await stocks["near"].call.ok(f"ProtectionService/{rpc}", REPORTS[rpc])
    told = str(answer)
    for kind, value in theirs.items():
        assert kind == options.REFERS_PROJECT or value not in told, options.Refers.Name(kind)
    assert not any(each.problems for each in answer.coverage)
    if rpc in {"GetProtectionSummary", "GenerateReport"}:
        assert own[options.REFERS_VAULT] in told


async def test_a_filter_reaches_nothing_of_others(world, stocks):
    call, theirs = stocks["near"].call, stocks["twin"].ids
    whole = {vault.id for vault in (await call.ok("VaultService/ListVaults")).vaults}
    asked = f"id = {theirs[options.REFERS_VAULT]} OR name : *"
    found = (await call.ok("VaultService/ListVaults", {"filter": asked})).vaults
    assert {vault.id for vault in found} == whole
    alone = {"filter": f"id = {theirs[options.REFERS_VAULT]}"}
    nobody = {"filter": f"id = {nobodys()}"}
    answers = [await call("VaultService/ListVaults", each) for each in (alone, nobody)]
    assert [list(each.vaults) for each in answers] == [[], []]
