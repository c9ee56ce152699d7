"""What a task that has ended was about."""

import pytest
from cbrgateway.v1 import task_pb2
from google.protobuf.json_format import ParseDict

from gateway.changes.task_facts import facts_of, losses_of
from gateway.upstream.losses import Loss

SERVER = {"id": "server", "type": "OS::Nova::Server"}


def about(**fields):
    task = ParseDict({"status": "TASK_STATUS_SUCCEEDED", **fields}, task_pb2.Task())
    return facts_of(task, gone=False).resources


@pytest.mark.parametrize("kind", ["OS::Nova::Server", "OS::Sfs::Turbo", ""])
def test_a_vault_that_its_own_task_has_for_its_resource_is_named_once(kind):
    details = {"resource": {"id": "vault", "type": kind}, "vault_delete": {"total_count": 1}}
    assert about(vault_id="vault", details=details) == (("vault", "vault"),)


def test_a_restore_to_where_the_backup_came_from_names_the_server_once():
    restore = {"backup_id": "backup", "target_resource_id": "server"}
    found = about(vault_id="vault", details={"resource": SERVER, "restore": restore})
    assert found == (("vault", "vault"), ("backup", "backup"), ("server", "server"))


def test_a_backup_that_is_its_own_resource_is_a_backup():
    details = {"resource": SERVER | {"id": "backup"}, "delete": {"backup_id": "backup"}}
    assert about(details=details) == (("backup", "backup"),)


@pytest.mark.parametrize(
    ("status", "failed", "of", "told"),
    [
        ("SUCCEEDED", 0, 3, [(3, False)]),
        ("SUCCEEDED", 1, 3, [(0, True)]),
        ("FAILED", 3, 3, []),
        ("FAILED", 1, 3, [(0, True)]),
        ("FAILED", 0, 0, []),
        ("SKIPPED", 0, 0, []),
        ("TIMED_OUT", 3, 3, [(0, True)]),
    ],
)
def test_only_what_went_is_a_loss(status, failed, of, told):
    task = task_pb2.Task(status=f"TASK_STATUS_{status}")
    task.details.vault_delete.fail_delete_count = failed
    task.details.vault_delete.total_delete_count = of
    outcome = facts_of(task, gone=False).outcome
    lost = losses_of(task, outcome, (Loss("backup", 3),))
    assert [(each.count, each.unknown) for each in lost] == told
