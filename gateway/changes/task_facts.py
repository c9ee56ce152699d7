"""What a task that has ended says of itself: how it ended, why, and what it was about; pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from cbrgateway.v1 import errors_pb2, task_pb2
from msgspec import Struct

from gateway.upstream.losses import Loss
from gateway.watch.failure import failure_of

_KINDS: Final = {
    "OS::Nova::Server": "server",
    "OS::Ironic::BareMetalServer": "server",
    "OS::Cinder::Volume": "disk",
}
_MAX_RESOURCES: Final = 50
_NOTHING_DONE: Final = frozenset({"failed", "skipped"})


class Facts(Struct, frozen=True):
    """`outcome`: succeeded, failed, timed_out, skipped, partly_failed, gone or other.

    `reason` and `text`: why it did not succeed, in the gateway's words; `code`: CBR's. `resources`:
    (type, id).
    """

    outcome: str
    reason: str = ""
    text: str = ""
    code: str = ""
    resources: tuple[tuple[str, str], ...] = ()


def facts_of(task: task_pb2.Task, *, gone: bool, checkpoint_id: str = "") -> Facts:
    """`checkpoint_id`: that of the change which started it, for a task that names none."""
    known: dict[str, str] = {}
    for kind, uid in _resources(task, checkpoint_id):
        # Work on a vault has the vault for its resource, with the type of what that protects.
        known.setdefault(uid, kind)
    resources = tuple((kind, uid) for uid, kind in known.items())[:_MAX_RESOURCES]
    if gone:
        text = "CBR does not know the task any more."
        return Facts("gone", text=text, resources=resources)
    if task.status == task_pb2.TASK_STATUS_SUCCEEDED:
        failed, of = _failures(task)
        text = f"Of {of} parts of the work, {failed} failed." if failed else ""
        return Facts("partly_failed" if failed else "succeeded", text=text, resources=resources)
    failure = failure_of(task)
    if failure is None:
        return Facts("other", text="CBR's word for its state is not known.", resources=resources)
    return Facts(
        task_pb2.TaskStatus.Name(task.status).removeprefix("TASK_STATUS_").lower(),
        errors_pb2.ErrorReason.Name(failure.reason).removeprefix("ERROR_REASON_"),
        failure.message,
        failure.metadata.get("upstreamCode", ""),
        resources,
    )


def losses_of(task: task_pb2.Task, outcome: str, foreseen: Sequence[Loss]) -> tuple[Loss, ...]:
    """What really went of that which its change was to destroy: all of it, nothing where the task
    failed as a whole, else nobody knows how much.
    """
    if outcome == "succeeded":
        return tuple(foreseen)
    failed, of = _failures(task)
    if outcome in _NOTHING_DONE and not 0 < failed < of:
        return ()
    return tuple(Loss(each.kind, unknown=True) for each in foreseen)


def _failures(task: task_pb2.Task) -> tuple[int, int]:
    """How many parts of work that counts as done have failed, and of how many."""
    details = task.details
    sync, removed, vault = details.sync, details.remove_resources, details.vault_delete
    synced = sync.synced_backup_count + sync.deleted_backup_count + sync.failed_backup_count
    return max(
        (sync.failed_backup_count, synced),
        (removed.fail_count, removed.total_count),
        (vault.fail_count, vault.total_count),
        (vault.fail_delete_count, vault.total_delete_count),
    )


def _resources(task: task_pb2.Task, checkpoint_id: str) -> Iterator[tuple[str, str]]:
    details = task.details
    kind = _KINDS.get(details.resource.type, "resource")
    found = [
        ("vault", task.vault_id),
        ("policy", task.policy_id),
        ("checkpoint", task.checkpoint_id or checkpoint_id),
        ("backup", details.backup.backup_id),
        ("backup", details.delete.backup_id),
        ("backup", details.restore.backup_id),
        ("backup", details.replication.source_backup_id),
        ("backup", details.replication.destination_backup_id),
        (kind, details.resource.id),
        (kind, details.restore.target_resource_id),
        *(
            (_KINDS.get(each.type, "resource"), each.id)
            for each in details.remove_resources.resources
        ),
    ]
    return (each for each in found if each[1])
