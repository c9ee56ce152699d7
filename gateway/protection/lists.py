"""The lists of a project that reports are made of."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cbrgateway.v1 import backup_pb2, policy_pb2, protectability_pb2, task_pb2, types_pb2, vault_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.clock import moment


class WantedList(Struct, frozen=True):
    """`name`: as reports call it."""

    name: str
    request: Message
    row: type[Message]


KINDS: Final[Mapping[int, str]] = {
    protectability_pb2.PROTECTABLE_TYPE_SERVER: "servers",
    protectability_pb2.PROTECTABLE_TYPE_DISK: "disks",
    protectability_pb2.PROTECTABLE_TYPE_TURBO: "file systems",
    protectability_pb2.PROTECTABLE_TYPE_WORKSPACE: "desktops",
    protectability_pb2.PROTECTABLE_TYPE_WORKSPACE_V2: "desktops of the second version",
}
"""The lists of resources, by type."""
USUAL: Final = tuple(KINDS)[:-1]
"""The types that are looked at unless a caller names some."""
TYPE_OF: Final[Mapping[str, int]] = {
    "OS::Nova::Server": protectability_pb2.PROTECTABLE_TYPE_SERVER,
    "OS::Ironic::BareMetalServer": protectability_pb2.PROTECTABLE_TYPE_SERVER,
    "OS::Cinder::Volume": protectability_pb2.PROTECTABLE_TYPE_DISK,
    "OS::Sfs::Turbo": protectability_pb2.PROTECTABLE_TYPE_TURBO,
    "OS::Workspace::DesktopV2": protectability_pb2.PROTECTABLE_TYPE_WORKSPACE,
}
"""Types of resources, by CBR's word in vaults and backups."""

VAULTS: Final = WantedList("vaults", vault_pb2.ListVaultsRequest(), types_pb2.Vault)
POLICIES: Final = WantedList("policies", policy_pb2.ListPoliciesRequest(), policy_pb2.Policy)
BACKUPS: Final = WantedList("backups", backup_pb2.ListBackupsRequest(), backup_pb2.Backup)


def resources(types: Iterable[int]) -> list[WantedList]:
    """What a project has that could be backed up. Disks want their servers: they may be in one."""
    wanted = dict.fromkeys(types or USUAL)
    if protectability_pb2.PROTECTABLE_TYPE_DISK in wanted:
        wanted.setdefault(protectability_pb2.PROTECTABLE_TYPE_SERVER)
    return [
        WantedList(
            KINDS[kind],
            protectability_pb2.ListProtectablesRequest(
                protectable_type=kind  # type: ignore[arg-type]
            ),
            protectability_pb2.Protectable,
        )
        for kind in wanted
    ]


def tasks(kind: int, since: float, *, name: str = "tasks") -> WantedList:
    """The tasks of one type from a time on; CBR keeps them for as long as it likes."""
    request: Any = task_pb2.ListTasksRequest(type=kind)  # type: ignore[arg-type]
    if since:
        request.start_time.CopyFrom(moment(since))
    return WantedList(name, request, task_pb2.Task)
