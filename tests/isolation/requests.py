"""The examples of all RPCs, with ids of one's own in them."""

from collections.abc import Mapping, Sequence
from typing import Any

from cbrgateway.v1 import options_pb2 as options

from gateway.upstream.id_fields import IdField
from tests.functional.calls import BINDINGS, REQUESTS, message_for
from tests.isolation.tenants import NEAR_PART


def put(message: Any, names: Sequence[str], value: str) -> None:
    """Sets the ids at one field to one value, wherever the field is; makes the messages around it."""
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


def request_with(rpc: str, ids: Mapping[int, str], field: IdField | None = None, value: str = "") -> Any:
    """The example of the RPC with ids of one's own, but for one field."""
    request = message_for(rpc, REQUESTS[rpc])
    request.ClearField("request_id") if "request_id" in request.DESCRIPTOR.fields_by_name else None
    for each in BINDINGS[rpc].id_fields:
        if each.refers in ids and next(each.ids(request), None):
            put(request, each.names, ids[each.refers])
    if rpc.startswith("PolicyService/") and ids[options.REFERS_ENTERPRISE_PROJECT] == NEAR_PART and "policy" in request.DESCRIPTOR.fields_by_name:
        request.policy.name = f"{NEAR_PART}-p"
    if rpc == "BackupService/ListBackups":
        request.ClearField("own_type")
    if rpc in {"VaultService/CreateVault", "VaultService/OrderVault"}:
        request.vault.ClearField("auto_expand")
    if field is not None and field.names[-1] == "resource_ids" and rpc == "CheckpointService/CreateCheckpoint":
        request.checkpoint.parameters.ClearField("resource_details")
    if field is not None:
        put(request, field.names, value)
    return request
