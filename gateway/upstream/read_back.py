"""Whether a change whose outcome is unknown is in force, told from what an ordinary read shows, and the response it would have had.

Most changes need no code here: the request's object (`{"vault": {...}}`) is compared with the object of the same name in the read;
every member that was sent must be there with the same value. The table CHECKS holds the calls that say it in another way.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cbrgateway.v1 import agent_pb2, types_pb2, vault_pb2
from google.protobuf.message import Message

from gateway.upstream.declaration import Binding
from gateway.upstream.values import Json


def read_request(read: Binding, request: Message) -> Message:
    """The request of the read, with every field that both requests have (vault_id, backup_id, …)."""
    wanted = read.request_type()
    for fd in wanted.DESCRIPTOR.fields:
        if fd.name in request.DESCRIPTOR.fields_by_name and fd.type == fd.TYPE_STRING and not fd.is_repeated:
            setattr(wanted, fd.name, getattr(request, fd.name))
    return wanted


def settled(binding: Binding, request: Message, observed: Message) -> Message | None:
    """The response if the read shows the change in force, else None."""
    check = CHECKS.get(binding.rpc)
    if check is not None:
        return binding.response_type(**found) if (found := check(request, observed)) is not None else None
    return _same_object(binding, request, observed)


def _same_object(binding: Binding, request: Message, observed: Message) -> Message | None:
    sent = binding.members(request)
    read: dict[str, Json] = {}
    response = binding.response_type()
    for fd in observed.DESCRIPTOR.fields:
        value = getattr(observed, fd.name)
        if fd.message_type is not None and fd.name in sent:
            read[fd.name] = binding.response_plan.write(observed).get(fd.name, {})
        if fd.name in response.DESCRIPTOR.fields_by_name:
            getattr(response, fd.name).CopyFrom(value)
    return response if within(sent, read) else None


def within(sent: Json, read: Json) -> bool:
    """Whether every member of `sent` is in `read` with the same value; what proto leaves out (false, 0, empty) counts as absent on both sides."""
    if isinstance(sent, dict):
        return isinstance(read, dict) and all(within(value, read.get(key)) for key, value in sent.items())
    if isinstance(sent, list) and isinstance(read, list):
        return len(sent) == len(read) and all(within(a, b) for a, b in zip(sent, read, strict=True))
    return sent == read or (not sent and not read)


Check = Callable[[Any, Any], dict[str, Any] | None]


def _resources_added(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401 - one concrete message pair each
    wanted = [resource.id for resource in request.resources]
    return {"added_resource_ids": wanted} if set(wanted) <= {r.id for r in observed.vault.resources} else None


def _resources_removed(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    staying = {r.id for r in observed.vault.resources if r.protect_status != types_pb2.PROTECT_STATUS_REMOVING}
    return None if staying & set(request.resource_ids) else {"removed_resource_ids": list(request.resource_ids)}


def _auto_protect_set(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    wanted = request.action == vault_pb2.AUTO_PROTECT_ACTION_UNSUSPEND
    now = {r.id: r.auto_protect for r in observed.vault.resources if r.HasField("auto_protect")}
    done = all(now.get(resource) is wanted for resource in request.resource_ids)
    return {"set_resource_ids": list(request.resource_ids)} if done else None


def _policy_associated(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    wanted = set(request.add_policy_ids) or {request.policy_id}
    if not wanted <= {policy.id for policy in observed.policies}:
        return None
    pair = {"vault_id": request.vault_id, "policy_id": request.policy_id, "destination_vault_id": request.destination_vault_id}
    return {"associate_policy": pair}


def _policy_dissociated(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    if request.policy_id in {policy.id for policy in observed.policies}:
        return None
    return {"dissociate_policy": {"vault_id": request.vault_id, "policy_id": request.policy_id}}


def _alerts_updated(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    wanted = request.vault
    for vault in observed.vaults:
        for name in ("smn_notify", "threshold_percent"):
            if wanted.HasField(name) and getattr(vault, name) != getattr(wanted, name):
                return None
    return {"updated_vault_ids": [vault.id for vault in observed.vaults]}


def _tags_in_force(tags: Any, observed: Any, *, present: bool) -> dict[str, Any] | None:  # noqa: ANN401
    now = {tag.key: tag.value for tag in observed.tags}
    done = all(now.get(tag.key) == tag.value if present else tag.key not in now for tag in tags)
    return {} if done else None


def _tag_created(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    return _tags_in_force([request.tag], observed, present=True)


def _tags_updated(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    return _tags_in_force(request.tags, observed, present=request.action == vault_pb2.TAG_ACTION_CREATE)


def _paths(observed: Any) -> set[str]:  # noqa: ANN401
    return {path.dir_path for path in observed.agent.paths if path.status != agent_pb2.AGENT_PATH_STATUS_REMOVE}


def _paths_added(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    wanted = list(request.add_paths)
    return {"added": wanted} if set(wanted) <= _paths(observed) else None


def _paths_removed(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    wanted = list(request.remove_paths)
    return None if _paths(observed) & set(wanted) else {"removed": wanted}


def _member_updated(request: Any, observed: Any) -> dict[str, Any] | None:  # noqa: ANN401
    member = observed.member
    done = member.status == request.status and (not request.vault_id or member.vault_id == request.vault_id)
    return {"member": member} if done else None


CHECKS: Final[Mapping[str, Check]] = {
    "VaultService/AddVaultResources": _resources_added,
    "VaultService/RemoveVaultResources": _resources_removed,
    "VaultService/SetVaultResources": _auto_protect_set,
    "VaultService/AssociateVaultPolicy": _policy_associated,
    "VaultService/DissociateVaultPolicy": _policy_dissociated,
    "VaultService/UpdateAllVaultAlerts": _alerts_updated,
    "VaultService/CreateVaultTag": _tag_created,
    "VaultService/BatchUpdateVaultTags": _tags_updated,
    "BackupShareService/UpdateBackupMember": _member_updated,
    "AgentService/AddAgentPaths": _paths_added,
    "AgentService/RemoveAgentPaths": _paths_removed,
}
