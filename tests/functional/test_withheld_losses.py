"""A caller that may make a change but not list what goes with it is told that something does, and
no more: by guards, validations, submissions and events.
"""

import pytest
from cbrgateway.v1 import event_service_pb2, event_service_pb2_grpc, task_pb2, task_pb2_grpc
from google.protobuf.json_format import MessageToDict

from emulator.transitions import Mode, Pace
from gateway.upstream.losses import LISTED_WITH
from tests.functional import stage
from tests.functional.calls import CATALOG, caller
from tests.functional.test_access import key
from tests.harness import running_gateway, tenant_entry

DELETE, REMOVE = "VaultService/DeleteVault", "VaultService/RemoveVaultResources"
LISTS = {
    "backup": "BackupService/ListBackups",
    "vault": "VaultService/ListVaults",
    "policy": "PolicyService/ListPolicies",
    "task": "TaskService/ListTasks",
}
MAY = {
    "remover": ["cbr:vaults:delete", "cbr:vaults:removeResources", "cbr:policies:delete"],
    "watcher": ["cbr:vaults:delete", "cbr:tasks:*"],
    "lister": ["cbr:vaults:delete", "cbr:backups:*", "cbr:tasks:get"],
}


@pytest.fixture
async def world():
    principals = [
        {"id": name, "permissions": permissions, "api_key": key(name)}
        for name, permissions in MAY.items()
    ]
    payments = tenant_entry("payments") | {
        "principals": principals,
        "guards": {"min_age_of_last_backup_s": 3600},
    }
    tenants = [payments, tenant_entry("databases"), tenant_entry("admin")]
    async with running_gateway(
        sections={
            "tenants": tenants,
            "tasks": {"correlate": True},
            "watch": {"busy_s": 0.1, "idle_s": 0.2, "follow": "always"},
        },
        pace=Pace(Mode.IMMEDIATE),
    ) as world:
        yield world


def test_kinds_are_listed_with_what_their_lists_need():
    assert {kind: CATALOG[rpc].permission for kind, rpc in LISTS.items()} == LISTED_WITH


async def test_guards_say_no_more_than_that_there_are_backups(world):
    backup = await stage.backup(caller(world))
    for rpc, wish in (
        (DELETE, {"vault_id": backup.vault_id}),
        (REMOVE, {"vault_id": backup.vault_id, "resource_ids": [backup.resource_id]}),
    ):
        full = await caller(world).fails(rpc, wish)
        assert full.facts["backups"] == "1"
        for more in ({}, {"validate_only": True}):
            refused = await caller(world, "remover").fails(rpc, wish | more)
            assert refused.reason == full.reason
            assert refused.facts["permission"] == "cbr:backups:list"
            assert {"backups", "newestBackup", "newestTime"}.isdisjoint(refused.facts)
            assert all(told not in str(refused) for told in ("1 backup", backup.id, "newest"))
    # Nor how old the newest is.
    refused = await caller(world, "remover").fails(
        DELETE, {"vault_id": backup.vault_id, "force": True}
    )
    assert "the newest is younger than 1 hour" in refused.message
    seen = await caller(world, "lister").fails(DELETE, {"vault_id": backup.vault_id})
    assert seen.facts["newestBackup"] == backup.id


async def test_a_policy_in_use_does_not_tell_by_how_many_vaults(world):
    call = caller(world)
    vault, policy = await stage.vault(call), await stage.policy(call)
    bound = {"vault_id": vault.id, "policy_id": policy.id}
    await call.ok("VaultService/AssociateVaultPolicy", bound)
    refused = await caller(world, "remover").fails(
        "PolicyService/DeletePolicy", {"policy_id": policy.id}
    )
    assert refused.reason == "POLICY_IN_USE"
    assert "vaults" not in refused.facts
    assert refused.facts["permission"] == "cbr:vaults:list"


async def events_of(world, who):
    stub = event_service_pb2_grpc.EventServiceStub(world.channel)
    stream = stub.WatchEvents(
        event_service_pb2.WatchEventsRequest(include_kept=True),
        metadata=world.metadata(who),
        timeout=60,
    )
    async for message in stream:
        data = MessageToDict(message.cloud_event.data)
        if data.get("operation") == DELETE and data["task_type"] == "VAULT_DELETE":
            stream.cancel()
            return data["losses"]
    raise AssertionError("the stream ended")


async def test_what_a_deletion_destroyed_is_told_to_those_who_may_list_it(world):
    backup = await stage.backup(caller(world))
    world.emulator.state.world.backups[backup.id].created_at -= 7200
    wish = {"vault_id": backup.vault_id, "force": True}
    told = (await caller(world, "remover").ok(DELETE, wish | {"validate_only": True})).validation
    (loss,) = told.losses
    assert (loss.kind, loss.withheld, loss.count, list(loss.ids)) == ("backup", True, 0, [])
    started = (await caller(world, "watcher").ok(DELETE, wish)).submission
    assert [(each.withheld, list(each.ids)) for each in started.losses] == [(True, [])]
    asked = {"submission_id": started.id}
    tasks = task_pb2_grpc.TaskServiceStub(world.channel)
    for who, ids in (("watcher", []), ("lister", [backup.id]), ("payments", [backup.id])):
        call = caller(world, who)
        kept = (await call.ok("TaskService/GetSubmission", asked)).submission
        assert list(kept.losses[0].ids) == ids
        waited = await tasks.WaitTask(
            task_pb2.WaitTaskRequest(**asked), metadata=world.metadata(who), timeout=60
        )
        assert list(waited.submission.losses[0].ids) == ids
    assert await events_of(world, "watcher") == [{"type": "backup", "count": 0, "withheld": True}]
    (told,) = await events_of(world, "payments")
    assert told["ids"] == [backup.id]


async def test_tasks_at_work_are_told_as_there(world):
    vault = await stage.vault(caller(world), 1)
    world.emulator.state.world.tasks.set_pace(Pace(Mode.TIME, duration_s=3600))
    await caller(world).ok(
        "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault.id}}
    )
    for each in world.emulator.state.world.backups.values():
        each.created_at -= 7200
    wish = {"vault_id": vault.id, "validate_only": True}
    told = (await caller(world, "remover").ok(DELETE, wish | {"force": True})).validation
    assert list(told.running_task_ids) == []
    assert any("at work" in each for each in told.warnings)
