"""Which backups a policy's next run would delete for a new retention.

This is the one place that works it out: guards, validations and what is recorded of a change have
it from here. A run makes a backup of each resource that takes part; then of each resource the
newest `max_backups` backups of the policy stay that are complete, the new one among them. A failed
backup neither counts nor goes. A new `retention_duration_days` holds for new backups only. Source:
the vendor's FAQ on changed retention rules.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import backup_pb2, policy_pb2, types_pb2
from msgspec import Struct

from gateway.operations.backup_reads import backups_in, is_available
from gateway.operations.reads import POLICY
from gateway.operations.vault_state import vault_of
from gateway.upstream.look import Look

_COMING: Final = frozenset(
    {backup_pb2.BACKUP_STATUS_PROTECTING, backup_pb2.BACKUP_STATUS_WAITING_PROTECT}
)
_NEVER: Final = frozenset(
    {
        backup_pb2.BACKUP_STATUS_ERROR,
        backup_pb2.BACKUP_STATUS_DELETING,
        backup_pb2.BACKUP_STATUS_WAITING_DELETE,
    }
)
"""Neither counted nor taken by a retention."""
_LEAVING: Final = frozenset({types_pb2.PROTECT_STATUS_DELETED, types_pb2.PROTECT_STATUS_REMOVING})
_LONG_TERM: Final = ("day_backups", "week_backups", "month_backups", "year_backups")


class _Going(Struct, frozen=True):
    """`guess`: others keep some of these long-term, or their state may change until the run."""

    backups: Sequence[backup_pb2.Backup] = ()
    guess: bool = False


async def no_longer_kept(
    request: policy_pb2.UpdatePolicyRequest, look: Look
) -> Sequence[backup_pb2.Backup]:
    """Backups that the policy's next run deletes; more than those, where that is a guess."""
    return (await _going(request, look)).backups


async def is_guess(request: policy_pb2.UpdatePolicyRequest, look: Look) -> bool:
    """Whether nothing that CBR shows tells which go."""
    return (await _going(request, look)).guess


async def _going(request: policy_pb2.UpdatePolicyRequest, look: Look) -> _Going:
    most = request.policy.operation_definition.max_backups
    if most < 1:
        return _Going()
    policy = (await look.answer(POLICY.request(request.policy_id), POLICY.response)).policy
    if 0 < policy.operation_definition.max_backups <= most:
        return _Going()
    if policy.operation_type == types_pb2.POLICY_OPERATION_TYPE_REPLICATION:
        return _Going(guess=bool(policy.associated_vaults))  # Its backups are in another region.
    definitions = policy.operation_definition, request.policy.operation_definition
    guess = any(map(_keeps_longer, definitions))
    going: list[backup_pb2.Backup] = []
    for vault in policy.associated_vaults:
        for backups, coming in await _by_resource(look, policy.id, vault.vault_id):
            left = backups[most - coming :]
            guess = guess or (bool(left) and not all(map(is_available, backups)))
            going += left
    return _Going(going, bool(going) and guess)


def _keeps_longer(definition: types_pb2.PolicyOperationDefinition) -> bool:
    return definition.HasField("advanced_retention_rules") or any(
        getattr(definition, name) for name in _LONG_TERM
    )


async def _by_resource(
    look: Look, policy_id: str, vault_id: str
) -> list[tuple[list[backup_pb2.Backup], bool]]:
    """The policy's backups of each resource, newest first, and whether one more is coming."""
    taken: defaultdict[str, list[backup_pb2.Backup]] = defaultdict(list)
    coming = {
        each.id
        for each in (await vault_of(look, vault_id)).resources
        if each.auto_protect and each.protect_status not in _LEAVING
    }
    for each in await backups_in(look, vault_id):
        if each.scheduled_operation_id != policy_id or each.status in _NEVER:
            continue
        if each.status in _COMING:
            coming.add(each.resource_id)
        else:
            taken[each.resource_id].append(each)
    for backups in taken.values():
        backups.sort(key=lambda each: each.create_time.ToNanoseconds(), reverse=True)
    return [(backups, resource_id in coming) for resource_id, backups in taken.items()]
