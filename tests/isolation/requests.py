"""The examples of all RPCs, with ids of one's own in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from cbrgateway.v1 import options_pb2 as options

from gateway.upstream.id_fields import IdField
from tests.functional.calls import BINDINGS, REQUESTS, message_for
from tests.isolation.tenants import NEAR_PART


def put(message: Any, names: Sequence[str], value: str) -> None:
    """Sets the ids at one field to one value, wherever the field is; makes the messages around
    it.
    """
    name, *rest = names
    fd = message.DESCRIPTOR.fields_by_name[name]
    if rest:
        if fd.is_repeated:
            inside = list(getattr(message, name)) or [getattr(message, name).add()]
        else:
            getattr(message, name).SetInParent()
            inside = [getattr(message, name)]
        for each in inside:
            put(each, rest, value)
    elif fd.is_repeated:
        del getattr(message, name)[:]
        getattr(message, name).append(value)
    else:
        setattr(message, name, value)


LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "BackupService/ListBackups": ("own_type",),
    "VaultService/CreateVault": ("vault.auto_expand",),
    "VaultService/OrderVault": ("vault.auto_expand",),
    "CheckpointService/CreateCheckpoint checkpoint.parameters.resource_ids": (
        "checkpoint.parameters.resource_details",
    ),
    "VaultService/AssociateVaultPolicy add_policy_ids": ("policy_id", "destination_vault_id"),
}
"""What examples hold and these tenants may not use, or what does not go together with a field."""


def request_with(
    rpc: str, ids: Mapping[int, str], field: IdField | None = None, value: str = ""
) -> Any:
    """The example of the RPC with ids of one's own, but for one field."""
    request = message_for(rpc, REQUESTS[rpc])
    for each in BINDINGS[rpc].id_fields:
        if each.refers in ids and next(each.ids(request), None):
            put(request, each.names, ids[each.refers])
    if (
        rpc in {"PolicyService/CreatePolicy", "PolicyService/UpdatePolicy"}
        and ids[options.REFERS_ENTERPRISE_PROJECT] == NEAR_PART
    ):
        request.policy.name = f"{NEAR_PART}-p"
    for path in (
        "request_id",
        *LEFT_OUT.get(rpc, ()),
        *LEFT_OUT.get(f"{rpc} {'.'.join(field.names)}" if field else "", ()),
    ):
        *way, name = path.split(".")
        holder = request
        for step in way:
            holder = getattr(holder, step)
        if name in holder.DESCRIPTOR.fields_by_name:
            holder.ClearField(name)
    if "force" in request.DESCRIPTOR.fields_by_name:
        # What is one's own holds backups.
        request.force = True
    if field is not None:
        put(request, field.names, value)
    return request
