"""What a task that has ended was about."""

import pytest
from cbrgateway.v1 import task_pb2
from google.protobuf.json_format import ParseDict

from gateway.changes.task_facts import facts_of

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
