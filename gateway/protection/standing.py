"""How one project's resources stand: in which vaults, under which policies, with which backups.

Pure.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from cbrgateway.v1 import (
    backup_pb2,
    policy_pb2,
    protectability_pb2,
    protection_pb2,
    task_pb2,
    types_pb2,
)
from msgspec import Struct, field

from gateway.protection.fleet import View
from gateway.protection.lists import KINDS, TYPE_OF, USUAL

_GOOD: Final = frozenset(
    {
        backup_pb2.BACKUP_STATUS_AVAILABLE,
        backup_pb2.BACKUP_STATUS_RESTORING,
        backup_pb2.BACKUP_STATUS_WAITING_RESTORE,
    }
)
FAILED: Final = frozenset({task_pb2.TASK_STATUS_FAILED, task_pb2.TASK_STATUS_TIMED_OUT})
SKIPPED: Final = frozenset({task_pb2.TASK_STATUS_SKIPPED})
DISK: Final = protectability_pb2.PROTECTABLE_TYPE_DISK
SERVER: Final = protectability_pb2.PROTECTABLE_TYPE_SERVER


def seconds(moment: Any) -> float:  # noqa: ANN401 - a Timestamp
    return float(moment.ToNanoseconds() / 1e9)


def is_good(backup: backup_pb2.Backup) -> bool:
    """Whether it could be restored. A state that is not known proves nothing."""
    return backup.status in _GOOD


def done_at(backup: backup_pb2.Backup) -> float:
    """When it was complete, in seconds since 1970."""
    return seconds(backup.protect_time if backup.HasField("protect_time") else backup.create_time)


def ended_at(task: task_pb2.Task) -> float:
    """In seconds since 1970."""
    return seconds(task.end_time if task.HasField("end_time") else task.create_time)


class Selection(Struct, frozen=True):
    """Which resources count: of these types (all, without any), with all of these tags."""

    types: frozenset[int] = frozenset()
    tags: tuple[str, ...] = ()

    def wants(self, kind: int) -> bool:
        return kind in (self.types or USUAL)

    def takes(self, resource: protectability_pb2.Protectable) -> bool:
        """Whether it has the tags."""
        return not self.tags or set(self.tags) <= set(_tags(resource))


class Resource(Struct, frozen=True):
    """A resource, and where it stands. `vault`: for backups, None for none."""

    kind: int
    shown: protectability_pb2.Protectable
    vault: types_pb2.Vault | None = None
    bound: types_pb2.VaultResource | None = None
    policy: policy_pb2.Policy | None = None
    excluded: Sequence[str] = ()


class Failure(Struct, eq=False):
    """The last backup failed, or was skipped. `task_id`: empty where only the backup shows it."""

    at: float
    task_id: str = ""


class Standing(Struct, eq=False, dict=True):
    """Of one project."""

    view: View
    selection: Selection = field(default_factory=Selection)

    @cached_property
    def vaults(self) -> list[types_pb2.Vault]:
        """Those for backups of what runs in the cloud."""
        no_backups = {types_pb2.PROTECT_TYPE_REPLICATION, types_pb2.PROTECT_TYPE_HYBRID}
        return [v for v in self.view.rows("vaults") if v.billing.protect_type not in no_backups]

    @cached_property
    def bound(self) -> dict[str, tuple[types_pb2.Vault, types_pb2.VaultResource]]:
        """By id of the resource."""
        return {each.id: (vault, each) for vault in self.vaults for each in vault.resources}

    @cached_property
    def policies(self) -> dict[str, policy_pb2.Policy]:
        """Backup policies by vault: an enabled one, if there is any."""
        found: dict[str, policy_pb2.Policy] = {}
        for policy in self.view.rows("policies"):
            if policy.operation_type == types_pb2.POLICY_OPERATION_TYPE_BACKUP:
                for vault in policy.associated_vaults:
                    known = found.get(vault.vault_id)
                    if known is None or not known.enabled:
                        found[vault.vault_id] = policy
        return found

    @cached_property
    def backups(self) -> Mapping[str, Sequence[backup_pb2.Backup]]:
        """Good ones by resource, the oldest first."""
        found: dict[str, list[backup_pb2.Backup]] = defaultdict(list)
        for backup in sorted(filter(is_good, self.view.rows("backups")), key=done_at):
            found[backup.resource_id].append(backup)
        return found

    @cached_property
    def successes(self) -> Mapping[str, float]:
        """When the last backup of each resource has succeeded, also one that is deleted by now."""
        found = {resource: done_at(backups[-1]) for resource, backups in self.backups.items()}
        for task in self.view.rows("tasks"):
            if task.status == task_pb2.TASK_STATUS_SUCCEEDED:
                resource = task.details.resource.id
                found[resource] = max(ended_at(task), found.get(resource, 0.0))
        return found

    @cached_property
    def failures(self) -> Mapping[str, Failure]:
        """The last failed backup of each resource, whether one has succeeded since or not."""
        found: dict[str, Failure] = {}
        for backup in self.view.rows("backups"):
            if backup.status == backup_pb2.BACKUP_STATUS_ERROR:
                _keep_latest(found, backup.resource_id, Failure(seconds(backup.create_time)))
        self._keep_tasks(found, FAILED)
        return found

    @cached_property
    def skips(self) -> Mapping[str, Failure]:
        """The last backup of each resource that CBR skipped, whether one has succeeded since or
        not.
        """
        found: dict[str, Failure] = {}
        self._keep_tasks(found, SKIPPED)
        return found

    def _keep_tasks(self, found: dict[str, Failure], statuses: Collection[int]) -> None:
        for task in self.view.rows("tasks"):
            if task.status in statuses:
                _keep_latest(found, task.details.resource.id, Failure(ended_at(task), task.id))

    @cached_property
    def resources(self) -> list[Resource]:
        """Those of the selection."""
        return [
            self._resource(kind, shown) for kind, shown in self.read if self.selection.takes(shown)
        ]

    @cached_property
    def read(self) -> list[tuple[int, protectability_pb2.Protectable]]:
        """Those of the types of the selection; disks only where no server has them.

        In a shared project a disk that is in use may be in a server of somebody else, which the
        tenant does not see.
        """
        attached = {disk.id for server in self.view.rows("servers") for disk in server.children}
        return [
            (kind, shown)
            for kind, name in KINDS.items()
            if self.selection.wants(kind)
            for shown in self.view.rows(name)
            if not (kind == DISK and (shown.id in attached or self._may_be_others(shown)))
        ]

    def _may_be_others(self, disk: protectability_pb2.Protectable) -> bool:
        """Whether a server may have it that was not read, or that the tenant does not see."""
        unseen = self.view.ref.is_shared or not self.view.knows(KINDS[SERVER])
        return unseen and disk.status == "in-use" and disk.id not in self.bound

    def _resource(self, kind: int, shown: protectability_pb2.Protectable) -> Resource:
        if shown.id not in self.bound:
            return Resource(kind, shown)
        vault, bound = self.bound[shown.id]
        excluded = [d for d in _excluded(shown, bound) if d not in self.bound]
        return Resource(kind, shown, vault, bound, self.policies.get(vault.id), excluded)

    def last_success(self, resource_id: str) -> float | None:
        """When the newest good backup was complete."""
        backups = self.backups.get(resource_id)
        return done_at(backups[-1]) if backups else None

    def last_failure(self, resource_id: str) -> Failure | None:
        """None if a backup has succeeded since."""
        return self._unless_succeeded(resource_id, self.failures)

    def last_skip(self, resource_id: str) -> Failure | None:
        """None if a backup has succeeded since."""
        return self._unless_succeeded(resource_id, self.skips)

    def _unless_succeeded(self, resource_id: str, last: Mapping[str, Failure]) -> Failure | None:
        failure = last.get(resource_id)
        success = self.successes.get(resource_id)
        return failure if failure and (success is None or success < failure.at) else None


def coverage(standing: Standing) -> protection_pb2.ProjectCoverage:
    view = standing.view
    return protection_pb2.ProjectCoverage(
        project=view.ref.project,
        region=view.ref.region,
        resources=len(standing.read),
        selected=len(standing.resources),
        vaults=len(view.rows("vaults")),
        backups=len(view.rows("backups")),
        problems=view.problems,
    )


def _keep_latest(found: dict[str, Failure], resource_id: str, failure: Failure) -> None:
    known = found.get(resource_id)
    if known is None or (known.at, known.task_id) < (failure.at, failure.task_id):
        found[resource_id] = failure


def _excluded(
    shown: protectability_pb2.Protectable, bound: types_pb2.VaultResource
) -> Iterator[str]:
    """Disks of a server that its backups leave out."""
    included = {disk.id for disk in bound.extra_info.include_volumes}
    left_out = set(bound.extra_info.exclude_volumes)
    for disk in shown.children:
        if disk.id in left_out or (included and disk.id not in included):
            yield disk.id


def _tags(resource: protectability_pb2.Protectable) -> Collection[str]:
    """`key` and `key=value` of each tag: a list of texts for servers, a map for disks."""
    if "tags" not in resource.detail.fields:
        return ()
    told = resource.detail.fields["tags"]
    pairs: Iterable[str]
    if told.WhichOneof("kind") == "struct_value":
        pairs = [f"{key}={value.string_value}" for key, value in told.struct_value.fields.items()]
    else:
        pairs = [value.string_value for value in told.list_value.values]
    return [text for pair in pairs for text in (pair, pair.partition("=")[0])]


def type_of(word: str) -> int:
    """The type of a resource by CBR's word; OTHER for one that is not known."""
    return TYPE_OF.get(word, protectability_pb2.PROTECTABLE_TYPE_OTHER)
