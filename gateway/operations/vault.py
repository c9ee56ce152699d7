"""VaultService."""

from collections.abc import Callable, Sequence
from typing import Final

from cbrgateway.v1 import backup_pb2, task_pb2, types_pb2, vault_pb2

from gateway.operations import creation_state, expiry_state, vault_state
from gateway.operations.backup_reads import backups_in
from gateway.operations.growth import grown, size_first
from gateway.operations.prices import of_charging_mode, of_new, of_none, of_resized
from gateway.operations.reads import VAULT
from gateway.operations.searches import ids
from gateway.upstream.amounts import Metric, Resize, ResourceDelta
from gateway.upstream.losses import Guard, Losing
from gateway.upstream.marker import MARKER
from gateway.upstream.read_back import within
from gateway.upstream.task_search import Search, Task
from gateway.upstream.traits import (
    Creation,
    Deltas,
    Fields,
    Mark,
    ObjectRead,
    Proof,
    Proven,
    ReadBack,
    ReadFirst,
    Traits,
)


def _added(
    request: vault_pb2.CreateVaultRequest | vault_pb2.OrderVaultRequest, _current: object
) -> Deltas:
    size = request.vault.billing.size_gib
    return (
        ResourceDelta(Metric.VAULTS, 1),
        ResourceDelta(Metric.CAPACITY_GIB, size),
        ResourceDelta(Metric.GROWTH_GIB_PER_DAY, size),
    )


def _created(response: vault_pb2.CreateVaultResponse) -> str:
    if response.HasField("vault"):
        return response.vault.id
    return response.orders[0].resource_id if response.orders else ""


def _mark(request: vault_pb2.CreateVaultRequest | vault_pb2.OrderVaultRequest, op_id: str) -> None:
    request.vault.tags.add(key=MARKER, value=op_id)


def _made(response: Callable[[types_pb2.Vault], Fields]) -> Creation[types_pb2.Vault]:
    return Creation(
        row=types_pb2.Vault,
        listed=vault_pb2.ListVaultsRequest,
        named=lambda name: vault_pb2.ListVaultsRequest(name=name),
        member="vault",
        made=lambda vault: vault.create_time,
        response=response,
    )


CREATE_VAULT: Final = Traits[vault_pb2.CreateVaultRequest, vault_pb2.CreateVaultResponse](
    rpc="VaultService/CreateVault",
    refused=creation_state.creation_refused,
    deltas=_added,
    price=of_new,
    expands=lambda request: request.vault.auto_expand,
    created_id=_created,
    creates=_made(lambda vault: {"vault": vault}),
    mark=Mark(has_room=lambda request, most: len(request.vault.tags) < most, put=_mark),
)

ORDER_VAULT: Final = Traits[vault_pb2.OrderVaultRequest, vault_pb2.OrderVaultResponse](
    rpc="VaultService/OrderVault",
    refused=creation_state.creation_refused,
    deltas=_added,
    price=of_new,
    expands=lambda request: request.vault.auto_expand,
    created_id=lambda response: response.orders[0].resource_id if response.orders else "",
    creates=_made(
        lambda vault: {"orders": [{"order_id": vault.billing.order_id, "resource_id": vault.id}]}
    ),
    mark=Mark(has_room=lambda request, most: len(request.vault.tags) < most, put=_mark),
)


def _resized(request: vault_pb2.UpdateVaultRequest) -> Resize:
    billing = request.vault.billing
    return Resize(request.vault_id, billing.size_gib if billing.HasField("size_gib") else None)


UPDATE_VAULT: Final = Traits[vault_pb2.UpdateVaultRequest, vault_pb2.UpdateVaultResponse](
    rpc="VaultService/UpdateVault",
    refused=vault_state.update_refused,
    deltas=grown(_resized),
    price=of_resized(_resized),
    read_first=size_first(_resized),
    resize=_resized,
    expands=lambda request: request.vault.auto_expand,
)


def _removed(
    _request: vault_pb2.DeleteVaultRequest, current: vault_pb2.GetVaultResponse | None
) -> Deltas:
    if current is None:
        return ()
    return ResourceDelta(Metric.VAULTS, -1), ResourceDelta(
        Metric.CAPACITY_GIB, -current.vault.billing.size_gib
    )


_DELETED_VAULT: Final = ObjectRead[vault_pb2.DeleteVaultRequest, vault_pb2.GetVaultResponse](
    VAULT, lambda request: request.vault_id
)

DELETE_VAULT: Final = Traits[vault_pb2.DeleteVaultRequest, vault_pb2.DeleteVaultResponse](
    rpc="VaultService/DeleteVault",
    refused=vault_state.delete_refused,
    deltas=_removed,
    price=of_none,
    read_first=ReadFirst(
        shown_by=_DELETED_VAULT, metrics=frozenset({Metric.VAULTS, Metric.CAPACITY_GIB})
    ),
    losing=Losing[vault_pb2.DeleteVaultRequest, backup_pb2.Backup](
        guard=Guard.DELETE_VAULT,
        kind="backup",
        lost=lambda request, look: backups_in(look, request.vault_id),
        made=lambda backup: backup.create_time,
    ),
    gone=_DELETED_VAULT,
    search=lambda request, _answer: Search((task_pb2.TASK_TYPE_VAULT_DELETE,), (request.vault_id,)),
    answer=lambda _request, _tasks: {},
)


def _alerts_updated(
    change: ReadBack[vault_pb2.UpdateAllVaultAlertsRequest, vault_pb2.ListVaultsResponse],
) -> Fields | None:
    """Only a read of every vault of the project shows anything; of no vaults it shows nothing."""
    vaults = change.observed.vaults
    if not vaults or len(vaults) != change.observed.total_size:
        return None
    done = all(
        within(change.sent["vault"], now, vaults[0].DESCRIPTOR) for now in change.read["vaults"]
    )
    return {"updated_vault_ids": [vault.id for vault in vaults]} if done else None


UPDATE_ALL_VAULT_ALERTS: Final = Traits[
    vault_pb2.UpdateAllVaultAlertsRequest, vault_pb2.UpdateAllVaultAlertsResponse
](
    rpc="VaultService/UpdateAllVaultAlerts",
    read_back=_alerts_updated,
)


def _expiring(_request: vault_pb2.UpdateBackupExpirationRequest, tasks: Sequence[Task]) -> Fields:
    told = tasks[0].details.update_expiration
    return {
        "affected_backups_count": told.affected_backups_count,
        "new_expiration_date": told.expiration_date,
        "task_id": tasks[0].id,
    }


UPDATE_BACKUP_EXPIRATION: Final = Traits[
    vault_pb2.UpdateBackupExpirationRequest, vault_pb2.UpdateBackupExpirationResponse
](
    rpc="VaultService/UpdateBackupExpiration",
    refused=expiry_state.expiry_refused,
    losing=Losing[vault_pb2.UpdateBackupExpirationRequest, backup_pb2.Backup](
        kind="backup", lost=expiry_state.expiring_sooner, made=lambda backup: backup.create_time
    ),
    search=lambda request, answer: Search(
        (task_pb2.TASK_TYPE_OTHER,), (request.vault_id,), named=ids(answer and answer.task_id)
    ),
    answer=_expiring,
)


def _pre_paid(
    seen: Sequence[ReadBack[vault_pb2.ChangeVaultChargingModeRequest, vault_pb2.GetVaultResponse]],
) -> Proven | None:
    """A pre-paid vault shows that it was changed: a second order for it is refused."""
    billings = [each.observed.vault.billing for each in seen]
    if any(billing.charging_mode != types_pb2.CHARGING_MODE_PRE_PAID for billing in billings):
        return None
    orders = {billing.order_id for billing in billings}
    return Proven({"order_id": orders.pop()} if len(orders) == 1 else None)


CHANGE_VAULT_CHARGING_MODE: Final = Traits[
    vault_pb2.ChangeVaultChargingModeRequest, vault_pb2.ChangeVaultChargingModeResponse
](
    rpc="VaultService/ChangeVaultChargingMode",
    refused=vault_state.charging_refused,
    price=of_charging_mode,
    proof=Proof(
        read=VAULT,
        ids=lambda request: request.vault_ids,
        proven=_pre_paid,
    ),
)
