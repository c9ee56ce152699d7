"""Whether an object is in a tenant's enterprise project, as CBR tells it.

A vault and a backup say it themselves. A checkpoint is its vault's, a resource that of the vault
that holds it, a disk its server's. The vault of a task may be gone, so the filter of the list tells
whose a task is. A policy belongs to no enterprise project: its name tells, which begins with the id
of one.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from cbrgateway.v1 import (
    backup_pb2,
    checkpoint_pb2,
    options_pb2,
    policy_pb2,
    protectability_pb2,
    task_pb2,
    vault_pb2,
)
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2
from msgspec import Struct, field

from gateway.errors import GatewayError
from gateway.upstream.account import Account
from gateway.upstream.declaration import Binding
from gateway.upstream.id_fields import Id
from gateway.upstream.retry import Deadline

KNOWN: Final[Mapping[int, str]] = {
    options_pb2.REFERS_VAULT: "vault",
    options_pb2.REFERS_DESTINATION_VAULT: "vault",
    options_pb2.REFERS_BACKUP: "backup",
    options_pb2.REFERS_CHECKPOINT: "checkpoint",
    options_pb2.REFERS_POLICY: "policy",
    options_pb2.REFERS_TASK: "task",
    options_pb2.REFERS_RESOURCE: "resource",
    options_pb2.REFERS_PROTECTABLE: "resource",
    options_pb2.REFERS_DISK: "resource",
}
"""What ids can name of which CBR tells whose it is, with the word for it."""
POLICY_MARK: Final = "{}-"
"""What the name of a tenant's policy begins with, to be filled with its enterprise project."""

Response = TypeVar("Response", bound=Message)


class Read(Protocol):
    """Makes one read, of lists as a whole."""

    async def __call__(
        self, request: Message, response: type[Response], account: Account, deadline: Deadline
    ) -> Response: ...


_SERVER: Final = protectability_pb2.PROTECTABLE_TYPE_SERVER
PROTECTABLE_TYPES: Final[Mapping[str, protectability_pb2.ProtectableType.ValueType]] = {
    "OS::Nova::Server": _SERVER,
    "OS::Ironic::BareMetalServer": _SERVER,
    "OS::Cinder::Volume": protectability_pb2.PROTECTABLE_TYPE_DISK,
    "OS::Sfs::Turbo": protectability_pb2.PROTECTABLE_TYPE_TURBO,
    "OS::Workspace::DesktopV2": protectability_pb2.PROTECTABLE_TYPE_WORKSPACE_V2,
}
"""Of the resources that CBR shows, by its word for theirs."""
_IDS_AT_ONCE: Final = 50
_AROUND_S: Final = 60
"""How much wider than a task's life the window is in which it is looked for; which of its times
CBR's filters mean is not documented.
"""


class Lookup(Struct):
    """The look-ups of one call, in one account."""

    read: Read
    account: Account
    deadline: Deadline
    _servers: list[str] = field(default_factory=list)
    """Resources that were found to be the tenant's."""
    _disks: set[str] = field(default_factory=set)
    """Disks of resources that were found to be the tenant's."""

    async def own(self, refers: int, ids: Sequence[Id]) -> Collection[str]:
        """Those of the ids that are the tenant's.

        Resources come before their disks. Raises GatewayError when CBR cannot be asked.
        """
        if refers == options_pb2.REFERS_RESOURCE:
            return await self._held([each.value for each in ids])
        if refers == options_pb2.REFERS_DISK:
            return await self._disks_of_servers() if ids else ()
        return {each.value for each in ids if await _LOOKUPS[refers](self, each)}

    async def vault(self, each: Id) -> bool:
        return await self._vault(each.value, self.account)

    async def destination(self, each: Id) -> bool:
        return any(
            [await self._vault(each.value, there) for there in (self.account, *self.account.others)]
        )

    async def backup(self, each: Id) -> bool:
        found = await self._get(
            backup_pb2.GetBackupRequest(backup_id=each.value), backup_pb2.GetBackupResponse
        )
        # Enterprise projects span projects, and a backup that another project shares is shown here,
        # too.
        return found is not None and (
            not self.account.enterprise_project_id
            or (
                found.backup.project_id,
                found.backup.enterprise_project_id,
            )
            == (
                self.account.project_id,
                self.account.enterprise_project_id,
            )
        )

    async def checkpoint(self, each: Id) -> bool:
        found = await self._get(
            checkpoint_pb2.GetCheckpointRequest(checkpoint_id=each.value),
            checkpoint_pb2.GetCheckpointResponse,
        )
        return found is not None and await self._vault(found.checkpoint.vault.id, self.account)

    async def policy(self, each: Id) -> bool:
        found = await self._get(
            policy_pb2.GetPolicyRequest(policy_id=each.value), policy_pb2.GetPolicyResponse
        )
        own = self.account.enterprise_project_id
        return found is not None and (
            not own or found.policy.name.startswith(POLICY_MARK.format(own))
        )

    async def _vault(self, vault_id: str, account: Account) -> bool:
        found = await self._get(
            vault_pb2.GetVaultRequest(vault_id=vault_id), vault_pb2.GetVaultResponse, account
        )
        return found is not None and (
            not account.enterprise_project_id
            or found.vault.enterprise_project_id == account.enterprise_project_id
        )

    async def task(self, each: Id) -> bool:
        found = await self._get(
            task_pb2.GetTaskRequest(task_id=each.value), task_pb2.GetTaskResponse
        )
        if found is None:
            return False
        task = found.task
        wanted = task_pb2.ListTasksRequest(
            vault_id=task.vault_id,
            enterprise_project_id=self.account.enterprise_project_id,
            start_time=Timestamp(seconds=max(task.create_time.seconds - _AROUND_S, 0)),
        )
        if task.HasField("end_time"):
            wanted.end_time.seconds = task.end_time.seconds + _AROUND_S
        listed = await self.read(wanted, task_pb2.ListTasksResponse, self.account, self.deadline)
        return any(row.id == each.value for row in listed.tasks)

    async def _held(self, ids: Sequence[str]) -> Collection[str]:
        """Those of the resources that vaults of the tenant hold."""
        held: set[str] = set()
        for start in range(0, len(ids), _IDS_AT_ONCE):
            wanted = vault_pb2.ListVaultsRequest(
                resource_ids=ids[start : start + _IDS_AT_ONCE],
                enterprise_project_id=self.account.enterprise_project_id,
            )
            listed = await self.read(
                wanted, vault_pb2.ListVaultsResponse, self.account, self.deadline
            )
            held |= {resource.id for vault in listed.vaults for resource in vault.resources}
        self._servers += [each for each in ids if each in held]
        return held

    async def protectable(self, each: Id) -> bool:
        """Whether a vault of the tenant holds the resource, or none does."""
        kind = _kind(each.holder)
        if not kind:
            return False
        wanted = protectability_pb2.GetProtectableRequest(
            protectable_type=kind, instance_id=each.value
        )
        found = await self._get(wanted, protectability_pb2.GetProtectableResponse)
        if found is None:
            return False
        verdict = found.instance.protectable
        if (
            verdict.HasField("vault")
            and verdict.vault.enterprise_project_id != self.account.enterprise_project_id
        ):
            return False
        self._disks |= {child.id for child in found.instance.children}
        return True

    async def _disks_of_servers(self) -> Collection[str]:
        for server in self._servers:
            wanted = protectability_pb2.GetProtectableRequest(
                protectable_type=_SERVER, instance_id=server
            )
            found = await self._get(wanted, protectability_pb2.GetProtectableResponse)
            self._disks |= (
                {child.id for child in found.instance.children} if found is not None else set()
            )
        return self._disks

    async def _get(
        self, request: Message, response: type[Response], account: Account | None = None
    ) -> Response | None:
        """The response; None when there is no such object, or the id could be none."""
        try:
            return await self.read(request, response, account or self.account, self.deadline)
        except GatewayError as error:
            if error.code in {code_pb2.NOT_FOUND, code_pb2.INVALID_ARGUMENT}:
                return None
            raise


def named_in_body(binding: Binding, request: Message) -> dict[str, str]:
    """Kind -> id, of the kinds of which the request's body names one object; of several, nobody
    could tell which an error is about.
    """
    found: dict[str, set[str]] = {}
    for each in binding.id_fields:
        if each.refers in KNOWN and not each.in_path:
            found.setdefault(KNOWN[each.refers], set()).update(
                id_.value for id_ in each.ids(request)
            )
    return {kind: ids.pop() for kind, ids in found.items() if len(ids) == 1}


def _kind(
    holder: Any,  # noqa: ANN401 - any message or value
) -> protectability_pb2.ProtectableType.ValueType:
    """The type of the resource that a message names; 0 where CBR shows no resources of its type."""
    names = holder.DESCRIPTOR.fields_by_name
    if "protectable_type" in names:
        return protectability_pb2.ProtectableType.ValueType(holder.protectable_type)
    word = holder.type if "type" in names else holder.resource_type
    return PROTECTABLE_TYPES.get(word, protectability_pb2.PROTECTABLE_TYPE_UNSPECIFIED)


_LOOKUPS: Final[Mapping[int, Callable[[Lookup, Id], Awaitable[bool]]]] = {
    options_pb2.REFERS_VAULT: Lookup.vault,
    options_pb2.REFERS_DESTINATION_VAULT: Lookup.destination,
    options_pb2.REFERS_BACKUP: Lookup.backup,
    options_pb2.REFERS_CHECKPOINT: Lookup.checkpoint,
    options_pb2.REFERS_POLICY: Lookup.policy,
    options_pb2.REFERS_TASK: Lookup.task,
    options_pb2.REFERS_PROTECTABLE: Lookup.protectable,
}
