"""Whether a change whose outcome is unknown is in force, told from what an ordinary read shows, and the response it would have had.

Most changes need no code here: the request's object (`{"vault": {...}}`) is compared with the object of the same name in the read; every
member that was sent must be there with the same value. The table CHECKS holds the calls that say it in another way.

There are three answers, and a doubt never becomes a success:

    a response      every member that was sent is shown in force
    None            some of it is not shown; the change is sent again, which is harmless for what is IDEMPOTENT
    OUTCOME_UNKNOWN all of it is shown, but not what CBR would have answered, or a repeat would fail because of the first attempt
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from cbrgateway.v1 import agent_pb2, errors_pb2, types_pb2, vault_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.errors import GatewayError
from gateway.upstream import codec
from gateway.upstream.declaration import Binding
from gateway.upstream.values import Json


def read_request(read: Binding, request: Message) -> Message:
    """The request of the read, with every field that both requests have (vault_id, backup_id, …)."""
    wanted = read.request_type()
    for fd in wanted.DESCRIPTOR.fields:
        if fd.name in request.DESCRIPTOR.fields_by_name and fd.type == fd.TYPE_STRING and not fd.is_repeated:
            setattr(wanted, fd.name, getattr(request, fd.name))
    return wanted


def settled(binding: Binding, read: Binding, request: Message, observed: Message) -> Message | None:
    """The response if `observed`, the response of `read`, shows the change in force, else None. Raises OUTCOME_UNKNOWN."""
    change = Change(request, observed, binding.members(request), read.response_plan.write(observed))
    check = CHECKS.get(binding.rpc)
    if check is not None:
        return binding.response_type(**found) if (found := check(change)) is not None else None
    if not within(change.sent, change.read, read.descriptor.output_type):
        return None
    response = binding.response_type()
    for fd in observed.DESCRIPTOR.fields:
        if fd.name in response.DESCRIPTOR.fields_by_name:
            getattr(response, fd.name).CopyFrom(getattr(observed, fd.name))
    return response


def within(sent: Mapping[str, Json], read: Mapping[str, Json], shown: Descriptor) -> bool:
    """Whether every member of `sent` is in `read`, the JSON of a message of type `shown`, with the same value.

    A member that is missing in the read says nothing, unless its field there has no presence: then it is false, 0 or empty. A member that the
    message does not have is never shown. An object with nothing but lists that it clears asks for nothing that could be shown, so only one in which
    nothing is shown is like it.
    """
    fields = {codec.json_key(fd): fd for fd in shown.fields if fd.name not in codec.GATEWAY_FIELDS}
    if all(value == [] for value in sent.values()):
        return not any(read.values())
    return all(key in fields and _same(value, read.get(key), fields[key]) for key, value in sent.items())


def _same(sent: Json, read: Json, fd: FieldDescriptor) -> bool:
    if read is None:
        return sent is None or (not fd.has_presence and not sent)
    if fd.message_type is not None and isinstance(sent, dict) and isinstance(read, dict) and not codec.is_map(fd):
        return within(sent, read, fd.message_type)
    if fd.message_type is not None and isinstance(sent, list) and isinstance(read, list):
        return len(sent) == len(read) and all(_same(a, b, fd) for a, b in zip(sent, read, strict=True))
    return bool(sent == read)


@dataclass(frozen=True, slots=True)
class Change:
    """A change and what was read afterwards, both as messages (of any type) and as CBR's JSON."""

    request: Any
    observed: Any
    sent: dict[str, Json]
    read: dict[str, Json]


Found = dict[str, Any] | None
"""Constructor arguments of the response, or None for a change that is not shown."""
Check = Callable[[Change], Found]


def _cannot_tell() -> NoReturn:
    raise GatewayError(errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN, "A read shows what was asked for, but not what came of this call.")


def _resources_added(change: Change) -> Found:
    """Bound again with other disks selected a resource takes those, so that the change may be sent again.

    With the same ones it is refused, so that a resource which is there and differs in anything else stays in doubt.
    """
    there = {r.id: r for r in change.observed.vault.resources if r.protect_status != types_pb2.PROTECT_STATUS_REMOVING}
    wanted = [resource.id for resource in change.request.resources]
    if not set(wanted) <= there.keys() or any(_other_disks(resource, there[resource.id]) for resource in change.request.resources):
        return None
    shown = change.observed.vault.DESCRIPTOR.fields_by_name["resources"].message_type
    now = {resource["id"]: resource for resource in change.read["vault"]["resources"] if resource.get("id") in there}
    if not all(within(resource, now[resource["id"]], shown) for resource in change.sent["resources"]):
        _cannot_tell()
    return {"added_resource_ids": wanted}


def _other_disks(asked: Any, now: Any) -> bool:  # noqa: ANN401 - a resource of a request and of a vault
    """Whether a resource is bound with another selection of disks than is asked for."""
    if not asked.HasField("extra_info") or not now.HasField("extra_info"):
        return False
    wanted, there = ((set(r.extra_info.exclude_volumes), {disk.id for disk in r.extra_info.include_volumes}) for r in (asked, now))
    return wanted != there


def _resources_removed(change: Change) -> Found:
    staying = {r.id for r in change.observed.vault.resources if r.protect_status != types_pb2.PROTECT_STATUS_REMOVING}
    wanted = list(change.request.resource_ids)
    return None if staying & set(wanted) else {"removed_resource_ids": wanted}


def _auto_protect_set(change: Change) -> Found:
    wanted = change.request.action == vault_pb2.AUTO_PROTECT_ACTION_UNSUSPEND
    now = {r.id: r.auto_protect for r in change.observed.vault.resources if r.HasField("auto_protect")}
    done = all(now.get(resource) is wanted for resource in change.request.resource_ids)
    return {"set_resource_ids": list(change.request.resource_ids)} if done else None


def _policy_associated(change: Change) -> Found:
    """Which of several policies CBR would have named is not known."""
    request = change.request
    bound = {p.id: {pair.destination_vault_id for pair in p.associated_vaults if pair.vault_id == request.vault_id} for p in change.observed.policies}
    wanted = set(request.add_policy_ids) or {request.policy_id}
    destination = request.destination_vault_id
    if not all(policy in bound and (not destination or bound[policy] == {destination}) for policy in wanted):
        return None
    if not request.policy_id:
        _cannot_tell()
    return {"associate_policy": {"vault_id": request.vault_id, "policy_id": request.policy_id, "destination_vault_id": destination}}


def _policy_dissociated(change: Change) -> Found:
    request = change.request
    if request.policy_id in {policy.id for policy in change.observed.policies}:
        return None
    return {"dissociate_policy": {"vault_id": request.vault_id, "policy_id": request.policy_id}}


def _alerts_updated(change: Change) -> Found:
    """Only a read that holds every vault of the project shows anything; of no vaults it shows nothing."""
    vaults = change.observed.vaults
    if not vaults or len(vaults) != change.observed.total_size:
        return None
    done = all(within(change.sent["vault"], now, vaults[0].DESCRIPTOR) for now in change.read["vaults"])
    return {"updated_vault_ids": [vault.id for vault in vaults]} if done else None


def _in_force(wanted: Iterable[Any], now: Iterable[Any], *, present: bool) -> bool:
    """Whether tags are there with their values, or are not there. A tag without a value has an empty one."""
    values = {tag.key: tag.value for tag in now}
    return all(values.get(tag.key) == tag.value if present else tag.key not in values for tag in wanted)


def _tag_created(change: Change) -> Found:
    return {} if _in_force([change.request.tag], change.observed.tags, present=True) else None


def _tags_updated(change: Change) -> Found:
    request, observed = change.request, change.observed
    present = request.action == vault_pb2.TAG_ACTION_CREATE
    pairs = ((request.tags, observed.tags), (request.system_tags, observed.system_tags))
    asked = any(wanted for wanted, _ in pairs)
    return {} if asked and all(_in_force(wanted, now, present=present) for wanted, now in pairs) else None


def _paths(change: Change) -> set[str]:
    return {path.dir_path for path in change.observed.agent.paths if path.status != agent_pb2.AGENT_PATH_STATUS_REMOVE}


def _paths_added(change: Change) -> Found:
    """The response tells new paths from those that were there before; a read cannot, nor does it show exclusions as they were sent."""
    if not set(change.request.add_paths) <= _paths(change):
        return None
    _cannot_tell()


def _paths_removed(change: Change) -> Found:
    """The response tells removed paths from those that were never there; a read cannot."""
    if set(change.request.remove_paths) & _paths(change):
        return None
    _cannot_tell()


def _member_updated(change: Change) -> Found:
    member = change.observed.member
    return {"member": member} if within(change.sent, change.read.get("member", {}), member.DESCRIPTOR) else None


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
