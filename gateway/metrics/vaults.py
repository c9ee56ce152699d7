"""Vaults: when each was last backed up with success, and how full it is.

A backup that nobody takes ends in no failure, so only its absence shows. What exists, and which
vaults have a schedule, is read from CBR every few minutes; successes are told as they happen, and
those of the days before the start are read once.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import structlog
from cbrgateway.v1 import policy_pb2, task_pb2, types_pb2, vault_pb2
from msgspec import Struct
from prometheus_client.core import Metric

from gateway.errors import GatewayError
from gateway.metrics.family import Family
from gateway.metrics.labels import OTHER, Labels
from gateway.metrics.readings import Readings
from gateway.upstream.reader import UpstreamReader

_VAULT: Final = ("project", "vault")
LAST_SUCCESS: Final = Family(
    "cbr_vault_last_success_timestamp_seconds",
    "gauge",
    "When the last backup of the vault that succeeded has ended; 0 if none did in the eight days"
    " before the start and since. Of replicas, take the latest.",
    _VAULT,
)
CREATED: Final = Family(
    "cbr_vault_created_timestamp_seconds", "gauge", "When the vault was made.", _VAULT
)
SCHEDULED: Final = Family(
    "cbr_vault_scheduled",
    "gauge",
    "1 if a policy that is enabled backs the vault up by itself, else 0.",
    _VAULT,
)
SIZE: Final = Family("cbr_vault_size_bytes", "gauge", "Capacity of the vault.", _VAULT)
USED: Final = Family("cbr_vault_used_bytes", "gauge", "How much of it backups use.", _VAULT)
RESOURCES: Final = Family(
    "cbr_vault_resources", "gauge", "How many resources are bound to the vault.", _VAULT
)
READ: Final = Family(
    "cbr_vaults_read_timestamp_seconds",
    "gauge",
    "When the vaults of the project were last read, or from when on they were to be read; what is"
    " shown of them is as old. `(other)`: of that read longest ago.",
    ("project",),
)
LEFT_OUT: Final = Family(
    "cbr_vaults_left_out",
    "gauge",
    "How many vaults `metrics.max_vaults` leaves out, and all of projects that"
    " `metrics.max_projects` leaves out.",
)
FAMILIES: Final = (LAST_SUCCESS, CREATED, SCHEDULED, SIZE, USED, RESOURCES, READ, LEFT_OUT)

_BEFORE_S: Final = 8 * 86_400
"""A week, and a day for schedules that run weekly."""
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Project(Struct, frozen=True):
    """As it was read. `left_out`: how many vaults a project without a label has."""

    read_at: float
    vaults: Sequence[types_pb2.Vault] = ()
    scheduled: frozenset[str] = frozenset()
    left_out: int = 0


class VaultMetrics:
    """Reads vaults now and then, and hears of backups that succeeded."""

    def __init__(self, readings: Readings, most: int, labels: Labels) -> None:
        self._most = most
        self._labels = labels
        self._since: dict[str, float] = {}
        self._projects: dict[str, _Project] = {}
        self._successes: dict[tuple[str, str], float] = {}
        readings.add(self._read)

    def succeeded(self, project: str, task: task_pb2.Task) -> None:
        """A backup has ended with success."""
        if not self._most:
            return
        key = project, task.vault_id
        ended = task.end_time.seconds or task.update_time.seconds
        self._successes[key] = max(float(ended), self._successes.get(key, 0.0))

    def expect(self, projects: Iterable[str]) -> None:
        """These are to be read from now on: one that never is looks older and older."""
        now = time.time()
        self._since = {name: self._since.get(name, now) for name in projects}

    async def sample(self, reader: UpstreamReader, projects: Sequence[str]) -> None:
        """Asks CBR. What cannot be read stays as it was."""
        self.expect(projects)
        for project in projects:
            try:
                await self._sample(reader, project)
            except KeyError:
                continue  # It was taken out of the configuration just now.
            except GatewayError as problem:
                if not problem.expected:
                    log.warning("vaults cannot be read", project=project, cause=str(problem))
        self._projects = {name: self._projects[name] for name in projects if name in self._projects}
        kept = {(name, vault.id) for name, each in self._projects.items() for vault in each.vaults}
        self._successes = {key: at for key, at in self._successes.items() if key in kept}

    async def _sample(self, reader: UpstreamReader, project: str) -> None:
        vaults = await reader.rows(vault_pb2.ListVaultsRequest(), types_pb2.Vault, project)
        if self._labels.of(project) == OTHER:
            self._projects[project] = _Project(time.time(), left_out=len(vaults))
            return
        policies = await reader.rows(policy_pb2.ListPoliciesRequest(), policy_pb2.Policy, project)
        if project not in self._projects:
            asked = task_pb2.ListTasksRequest(
                type=task_pb2.TASK_TYPE_BACKUP, status=task_pb2.TASK_STATUS_SUCCEEDED
            )
            asked.start_time.seconds = int(time.time() - _BEFORE_S)
            for task in (await reader.understood(asked, task_pb2.Task, project))[0]:
                self.succeeded(project, task)
        scheduled = frozenset(
            vault.vault_id
            for policy in policies
            if policy.enabled and policy.operation_type == types_pb2.POLICY_OPERATION_TYPE_BACKUP
            for vault in policy.associated_vaults
        )
        self._projects[project] = _Project(time.time(), vaults, scheduled)

    def known(self) -> Iterator[tuple[str, types_pb2.Vault, bool, float, float]]:
        """Project, vault, whether it has a schedule, its last success, and when it was read: both
        in seconds since 1970.
        """
        projects = dict(self._projects)
        for (project, vault_id), vault, scheduled in self._shown():
            succeeded_at = self._successes.get((project, vault_id), 0.0)
            read_at = projects[project].read_at if project in projects else 0.0
            yield project, vault, scheduled, succeeded_at, read_at

    def _shown(self) -> Iterator[tuple[tuple[str, str], types_pb2.Vault, bool]]:
        for project, each in list(self._projects.items()):
            for vault in each.vaults:
                yield (project, vault.id), vault, vault.id in each.scheduled

    def _read(self) -> Iterable[Metric]:
        everything = list(self._shown())
        shown = everything[: self._most]
        yield LAST_SUCCESS.gauge((key, self._successes.get(key, 0.0)) for key, _, _ in shown)
        yield CREATED.gauge((key, vault.create_time.seconds) for key, vault, _ in shown)
        yield SCHEDULED.gauge((key, scheduled) for key, _, scheduled in shown)
        yield SIZE.gauge((key, vault.billing.size_gib * _GIB) for key, vault, _ in shown)
        yield USED.gauge((key, vault.billing.used_mib * _MIB) for key, vault, _ in shown)
        yield RESOURCES.gauge((key, len(vault.resources)) for key, vault, _ in shown)
        projects = dict(self._projects)
        read: dict[str, float] = {}
        for name, since in self._since.items():
            label, at = self._labels.of(name), projects[name].read_at if name in projects else since
            read[label] = min(at, read.get(label, at))
        yield READ.gauge(((label,), at) for label, at in read.items())
        unlabelled = sum(each.left_out for each in projects.values())
        yield LEFT_OUT.one(len(everything) - len(shown) + unlabelled)
