"""Which resources of a project are not protected, and why. Pure."""

from collections.abc import Iterator
from typing import Final

from cbrgateway.v1 import protection_pb2, types_pb2

from gateway.clock import moment
from gateway.protection.standing import Resource, Standing

DAY_S = 86_400.0


def causes(standing: Standing, resource: Resource, oldest: float) -> list[int]:
    """All of them. `oldest`: a good backup has to be from later, in seconds since 1970.

    What could not be read as a whole is no cause: nobody knows.
    """
    return [cause for cause, holds in _each(standing, resource, oldest) if holds]


TELLING: Final = frozenset({"vaults", "policies", "backups", "tasks"})
"""The lists without which a resource without a cause may have one."""


def _each(standing: Standing, resource: Resource, oldest: float) -> Iterator[tuple[int, bool]]:
    knows = standing.view.knows
    if knows("vaults"):
        yield protection_pb2.UNPROTECTED_CAUSE_NO_VAULT, resource.vault is None
    if resource.bound is not None and resource.vault is not None:
        if knows("policies"):
            policy = resource.policy
            yield protection_pb2.UNPROTECTED_CAUSE_NO_POLICY, policy is None
            disabled = policy is not None and not policy.enabled
            yield protection_pb2.UNPROTECTED_CAUSE_POLICY_DISABLED, disabled
        yield protection_pb2.UNPROTECTED_CAUSE_DISKS_EXCLUDED, bool(resource.excluded)
        suspended = resource.bound.HasField("auto_protect") and not resource.bound.auto_protect
        yield protection_pb2.UNPROTECTED_CAUSE_AUTO_BACKUP_SUSPENDED, suspended
        failed = resource.bound.protect_status == types_pb2.PROTECT_STATUS_ERROR
        failed = failed or standing.last_failure(resource.shown.id) is not None
        yield protection_pb2.UNPROTECTED_CAUSE_LAST_BACKUP_FAILED, failed
        skipped = standing.last_skip(resource.shown.id) is not None
        yield protection_pb2.UNPROTECTED_CAUSE_LAST_BACKUP_SKIPPED, skipped
        if knows("backups"):
            success = standing.last_success(resource.shown.id)
            too_old = success is None or success < oldest
            yield protection_pb2.UNPROTECTED_CAUSE_BACKUP_TOO_OLD, too_old


def unprotected(
    standing: Standing, oldest: float, wanted: frozenset[int]
) -> list[protection_pb2.UnprotectedResource]:
    """By type and id. `wanted`: with one of these causes; empty: with any."""
    found = []
    for resource in standing.resources:
        why = causes(standing, resource, oldest)
        if why and (not wanted or wanted.intersection(why)):
            found.append(_row(standing, resource, why))
    return sorted(found, key=lambda row: (row.type, row.resource_id))


def _row(
    standing: Standing, resource: Resource, why: list[int]
) -> protection_pb2.UnprotectedResource:
    shown = resource.shown
    row = protection_pb2.UnprotectedResource(
        project=standing.view.ref.project,
        region=standing.view.ref.region,
        resource_id=shown.id,
        name=shown.name,
        type=resource.kind,  # type: ignore[arg-type]
        size_gib=shown.size_gib,
        causes=why,  # type: ignore[arg-type]
        vault_id=resource.vault.id if resource.vault is not None else "",
        policy_id=resource.policy.id if resource.policy is not None else "",
        excluded_disk_ids=resource.excluded,
    )
    if (success := standing.last_success(shown.id)) is not None:
        row.last_success_time.CopyFrom(moment(success))
    if (failure := standing.last_failure(shown.id)) is not None:
        row.last_failure_time.CopyFrom(moment(failure.at))
        row.last_failure_task_id = failure.task_id
    if (skip := standing.last_skip(shown.id)) is not None:
        row.last_skip_time.CopyFrom(moment(skip.at))
        row.last_skip_task_id = skip.task_id
    return row
