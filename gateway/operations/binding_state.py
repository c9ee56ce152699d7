"""What keeps CBR from binding resources to a vault, or from moving them out of one, as the
resources and the vaults show it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from cbrgateway.v1 import protectability_pb2, types_pb2, vault_pb2

from gateway.operations.vault_state import unusable, vault_of
from gateway.upstream.look import Look, Refusal, refusal
from gateway.upstream.lookup import PROTECTABLE_TYPES

_MAX_RESOURCES: Final = 256
_IDS_AT_ONCE: Final = 50
"""In the query of a list."""
_FITTING: Final[Mapping[int, frozenset[str]]] = {
    types_pb2.OBJECT_TYPE_SERVER: frozenset({"OS::Nova::Server", "OS::Ironic::BareMetalServer"}),
    types_pb2.OBJECT_TYPE_DISK: frozenset({"OS::Cinder::Volume"}),
    types_pb2.OBJECT_TYPE_TURBO: frozenset({"OS::Sfs::Turbo"}),
    types_pb2.OBJECT_TYPE_WORKSPACE: frozenset({"OS::Workspace::DesktopV2"}),
}
"""Types of resources by that of the vault. Of others the vendor does not tell."""


def lacking(vault: types_pb2.Vault, ids: Iterable[str]) -> Refusal | None:
    held = {resource.id for resource in vault.resources}
    strange = next((each for each in ids if each not in held), None)
    return None if strange is None else refusal(6135, about=strange)


async def protectables(
    look: Look, resources: Sequence[tuple[str, str]]
) -> Sequence[protectability_pb2.Protectable]:
    """Resources by type and id, of types that CBR shows. Raises where one does not exist."""
    requests = [
        protectability_pb2.GetProtectableRequest(
            protectable_type=PROTECTABLE_TYPES[kind], instance_id=id_
        )
        for kind, id_ in resources
    ]
    answers = await look.answers(requests, protectability_pb2.GetProtectableResponse)
    return [each.instance for each in answers]


async def removal_refused(
    request: vault_pb2.RemoveVaultResourcesRequest, look: Look
) -> Refusal | None:
    """RemoveVaultResources."""
    vault = await vault_of(look, request.vault_id)
    going = {
        each.id
        for each in vault.resources
        if each.protect_status == types_pb2.PROTECT_STATUS_REMOVING
    }
    twice = next((each for each in request.resource_ids if each in going), None)
    return (
        unusable(vault)
        or lacking(vault, request.resource_ids)
        or (None if twice is None else refusal(6134, about=twice))
    )


async def setting_refused(
    request: vault_pb2.SetVaultResourcesRequest, look: Look
) -> Refusal | None:
    """SetVaultResources."""
    return lacking(await vault_of(look, request.vault_id), request.resource_ids)


async def migration_refused(
    request: vault_pb2.MigrateVaultResourcesRequest, look: Look
) -> Refusal | None:
    """MigrateVaultResources."""
    if request.vault_id == request.destination_vault_id:
        return refusal(9900, "destination_vault_id")
    vault = await vault_of(look, request.vault_id)
    destination = await vault_of(look, request.destination_vault_id)
    here, there = vault.billing, destination.billing
    if (here.object_type, here.protect_type) != (there.object_type, there.protect_type):
        return refusal(6102)
    return unusable(vault) or unusable(destination) or lacking(vault, request.resource_ids)


async def addition_refused(
    request: vault_pb2.AddVaultResourcesRequest, look: Look
) -> Refusal | None:
    """AddVaultResources."""
    vault = await vault_of(look, request.vault_id)
    if refused := unusable(vault):
        return refused
    held = {resource.id for resource in vault.resources}
    if len(held.union(resource.id for resource in request.resources)) > _MAX_RESOURCES:
        return refusal(6100)
    return await unbindable(request.resources, vault.billing, look, vault.id)


async def unbindable(
    wanted: Collection[types_pb2.ResourceRef],
    billing: types_pb2.Billing | vault_pb2.BillingSpec | vault_pb2.PrePaidBillingSpec,
    look: Look,
    own: str = "",
) -> Refusal | None:
    """Why resources cannot be bound to a vault with this billing, as it is or will be.

    `own`: the vault, where there is one: in it they may get another selection of disks.
    """
    by_id = {resource.id: resource for resource in wanted}
    if len(by_id) < len(wanted):
        return refusal(6104, "resources")
    if wanted and billing.protect_type == types_pb2.PROTECT_TYPE_REPLICATION:
        return refusal(6108)
    fitting = _FITTING.get(billing.object_type)
    for each in wanted:
        if fitting is not None and each.type not in fitting:
            return refusal(6102, about=each.id)
    return await _unprotectable(wanted, look) or await _bound(by_id, look, own)


async def _unprotectable(wanted: Collection[types_pb2.ResourceRef], look: Look) -> Refusal | None:
    shown = [each for each in wanted if each.type in PROTECTABLE_TYPES]
    found = await protectables(look, [(each.type, each.id) for each in shown])
    for asked, resource in zip(shown, found, strict=True):
        verdict = resource.protectable
        # One in a vault is not judged here: that vault may be the one that it is to be in.
        if resource.HasField("protectable") and not verdict.result and not verdict.vault.id:
            return Refusal(verdict.code or refusal(6215).code, about=asked.id)
        if strange := unknown_disks(asked.extra_info, resource):
            return refusal(7000, about=strange)
    return None


def unknown_disks(
    selection: types_pb2.DiskSelection, server: protectability_pb2.Protectable
) -> str:
    """A disk of a selection that the server does not have."""
    excluded, included = disks_of(selection)
    strange = (excluded | included) - {child.id for child in server.children}
    return min(strange, default="")


async def _bound(
    by_id: Mapping[str, types_pb2.ResourceRef], look: Look, own: str
) -> Refusal | None:
    """Whether a vault has one of them already."""
    ids = list(by_id)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = vault_pb2.ListVaultsRequest(resource_ids=ids[start : start + _IDS_AT_ONCE])
        for vault in await look.rows(part, types_pb2.Vault):
            for bound in vault.resources:
                asked = by_id.get(bound.id)
                if asked is not None and (vault.id != own or _same_disks(asked, bound)):
                    return refusal(6103, about=bound.id)
    return None


def _same_disks(asked: types_pb2.ResourceRef, bound: types_pb2.VaultResource) -> bool:
    if not asked.HasField("extra_info"):
        return True
    return disks_of(asked.extra_info) == disks_of(bound.extra_info)


def disks_of(selection: types_pb2.DiskSelection) -> tuple[set[str], set[str]]:
    """Those that are left out, and those that alone are taken."""
    return set(selection.exclude_volumes), {disk.id for disk in selection.include_volumes}
