"""How a resource stands whose last good backup is not there any more."""

import pytest
from cbrgateway.v1 import backup_pb2, protectability_pb2, protection_pb2, task_pb2, types_pb2

from gateway.protection.expiring import expiring
from gateway.protection.fleet import ProjectRef, View
from gateway.protection.standing import Standing
from gateway.protection.unprotected import unprotected

NOW = 1_795_000_000
WENT_WRONG = {
    "LAST_BACKUP_FAILED": task_pb2.TASK_STATUS_FAILED,
    "LAST_BACKUP_SKIPPED": task_pb2.TASK_STATUS_SKIPPED,
}

GOOD = {
    word.removeprefix("BACKUP_STATUS_"): word.removeprefix("BACKUP_STATUS_")
    in {"AVAILABLE", "RESTORING", "WAITING_RESTORE"}
    for word in backup_pb2.BackupStatus.keys()  # noqa: SIM118 - no mapping
}


def task(number, status, ended):
    return task_pb2.Task(
        id=f"task-{number}",
        status=status,
        details={"resource": {"id": "server-1"}},
        create_time={"seconds": ended - 60},
        end_time={"seconds": ended},
    )


def words_of(*tasks, status=backup_pb2.BACKUP_STATUS_ERROR):
    lists = {
        "servers": [protectability_pb2.Protectable(id="server-1")],
        "vaults": [types_pb2.Vault(id="vault-1", resources=[{"id": "server-1"}])],
        "policies": [],
        "backups": [
            backup_pb2.Backup(
                id="backup-1",
                resource_id="server-1",
                status=status,
                create_time={"seconds": NOW - 5000},
            )
        ],
        "tasks": tasks,
    }
    standing = Standing(View(ProjectRef("project", "project", "region"), lists))
    (row,) = unprotected(standing, NOW - 86_400, frozenset())
    return {
        protection_pb2.UnprotectedCause.Name(cause).removeprefix("UNPROTECTED_CAUSE_")
        for cause in row.causes
    }


@pytest.mark.parametrize("cause", WENT_WRONG)
def test_a_backup_that_succeeded_since_counts_though_it_was_deleted(cause):
    wrong = task(1, WENT_WRONG[cause], NOW - 3000)
    good = task(2, task_pb2.TASK_STATUS_SUCCEEDED, NOW - 1000)
    assert cause in words_of(wrong)
    told = words_of(wrong, good)
    assert not told & WENT_WRONG.keys()
    assert "BACKUP_TOO_OLD" in told


def test_a_backup_that_succeeded_before_does_not_count():
    good = task(1, task_pb2.TASK_STATUS_SUCCEEDED, NOW - 4000)
    wrong = task(2, task_pb2.TASK_STATUS_FAILED, NOW - 3000)
    assert "LAST_BACKUP_FAILED" in words_of(good, wrong)


@pytest.mark.parametrize(("word", "good"), GOOD.items())
def test_only_a_backup_that_is_known_to_be_complete_is_a_good_one(word, good):
    status = backup_pb2.BackupStatus.Value(f"BACKUP_STATUS_{word}")
    assert ("BACKUP_TOO_OLD" not in words_of(status=status)) is good


@pytest.mark.parametrize("word", backup_pb2.BackupStatus.keys())
def test_backups_that_expire_are_told_unless_they_are_known_to_be_none(word):
    backup = backup_pb2.Backup(
        id="backup-1",
        status=backup_pb2.BackupStatus.Value(word),
        expire_time={"seconds": NOW + 60},
    )
    standing = Standing(View(ProjectRef("project", "project", "region"), {"backups": [backup]}))
    told = bool(expiring(standing, NOW + 3600, last_only=False))
    short = word.removeprefix("BACKUP_STATUS_")
    assert told is (GOOD[short] or short in {"UNSPECIFIED", "OTHER"})
