"""VaultService: the resources that a vault protects."""

from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import backup_pb2, task_pb2, types_pb2, vault_pb2

from gateway.operations import binding_state
from gateway.operations.backup_reads import backups_in
from gateway.upstream.look import Look
from gateway.upstream.losses import Guard, Losing
from gateway.upstream.read_back import cannot_tell, within
from gateway.upstream.task_search import Search, Task, subjects_of
from gateway.upstream.traits import Fields, ReadBack, Traits


def _staying(vault: types_pb2.Vault) -> dict[str, types_pb2.VaultResource]:
    return {
        each.id: each
        for each in vault.resources
        if each.protect_status != types_pb2.PROTECT_STATUS_REMOVING
    }


def _added(
    change: ReadBack[vault_pb2.AddVaultResourcesRequest, vault_pb2.GetVaultResponse],
) -> Fields | None:
    """Bound again with other disks selected a resource takes those, so that the change may be sent
    again.

    With the same ones it is refused, so that a resource which is there and differs in anything else
    stays in doubt.
    """
    there = _staying(change.observed.vault)
    wanted = [resource.id for resource in change.request.resources]
    if not set(wanted) <= there.keys() or any(
        _other_disks(resource, there[resource.id]) for resource in change.request.resources
    ):
        return None
    shown = types_pb2.Vault.DESCRIPTOR.fields_by_name["resources"].message_type
    assert shown is not None
    now = {
        resource["id"]: resource
        for resource in change.read["vault"]["resources"]
        if resource.get("id") in there
    }
    if not all(
        within(resource, now[resource["id"]], shown) for resource in change.sent["resources"]
    ):
        cannot_tell()
    return {"added_resource_ids": wanted}


def _other_disks(asked: types_pb2.ResourceRef, now: types_pb2.VaultResource) -> bool:
    """Whether a resource is bound with another selection of disks than is asked for."""
    if not asked.HasField("extra_info") or not now.HasField("extra_info"):
        return False
    return binding_state.disks_of(asked.extra_info) != binding_state.disks_of(now.extra_info)


ADD_VAULT_RESOURCES: Final = Traits[
    vault_pb2.AddVaultResourcesRequest, vault_pb2.AddVaultResourcesResponse
](
    rpc="VaultService/AddVaultResources",
    refused=binding_state.addition_refused,
    read_back=_added,
)


def _removed(
    change: ReadBack[vault_pb2.RemoveVaultResourcesRequest, vault_pb2.GetVaultResponse],
) -> Fields | None:
    wanted = list(change.request.resource_ids)
    return (
        None
        if _staying(change.observed.vault).keys() & set(wanted)
        else {"removed_resource_ids": wanted}
    )


def _removing(request: vault_pb2.RemoveVaultResourcesRequest, tasks: Sequence[Task]) -> Fields:
    leaving: set[str] = set().union(*(subjects_of(task) for task in tasks))
    return {"removed_resource_ids": [each for each in request.resource_ids if each in leaving]}


async def _backups_of(
    request: vault_pb2.RemoveVaultResourcesRequest, look: Look
) -> Sequence[backup_pb2.Backup]:
    backups = await backups_in(look, request.vault_id)
    return [each for each in backups if each.resource_id in request.resource_ids]


REMOVE_VAULT_RESOURCES: Final = Traits[
    vault_pb2.RemoveVaultResourcesRequest, vault_pb2.RemoveVaultResourcesResponse
](
    rpc="VaultService/RemoveVaultResources",
    refused=binding_state.removal_refused,
    losing=Losing[vault_pb2.RemoveVaultResourcesRequest, backup_pb2.Backup](
        guard=Guard.REMOVE_VAULT_RESOURCES,
        kind="backup",
        lost=_backups_of,
        made=lambda backup: backup.create_time,
    ),
    read_back=_removed,
    search=lambda request, _answer: Search(
        (task_pb2.TASK_TYPE_REMOVE_RESOURCE,),
        tuple(sorted(set(request.resource_ids))),
        vault_id=request.vault_id,
    ),
    answer=_removing,
)


def _auto_protect_set(
    change: ReadBack[vault_pb2.SetVaultResourcesRequest, vault_pb2.GetVaultResponse],
) -> Fields | None:
    wanted = change.request.action == vault_pb2.AUTO_PROTECT_ACTION_UNSUSPEND
    now = {
        r.id: r.auto_protect for r in change.observed.vault.resources if r.HasField("auto_protect")
    }
    done = all(now.get(resource) is wanted for resource in change.request.resource_ids)
    return {"set_resource_ids": list(change.request.resource_ids)} if done else None


SET_VAULT_RESOURCES: Final = Traits[
    vault_pb2.SetVaultResourcesRequest, vault_pb2.SetVaultResourcesResponse
](
    rpc="VaultService/SetVaultResources",
    refused=binding_state.setting_refused,
    read_back=_auto_protect_set,
)


def _migrating(request: vault_pb2.MigrateVaultResourcesRequest, _answer: object) -> Search:
    # Whether CBR makes one task for each resource or one for all is not published, nor where the
    # task would name them.
    subjects = tuple(sorted(set(request.resource_ids)))
    return Search(
        (task_pb2.TASK_TYPE_MIGRATE_RESOURCES,),
        subjects,
        countable=False,
        vault_id=request.vault_id,
    )


MIGRATE_VAULT_RESOURCES: Final = Traits[
    vault_pb2.MigrateVaultResourcesRequest, vault_pb2.MigrateVaultResourcesResponse
](
    rpc="VaultService/MigrateVaultResources",
    refused=binding_state.migration_refused,
    search=_migrating,
    answer=lambda request, _tasks: {"migrated_resources": list(request.resource_ids)},
)
