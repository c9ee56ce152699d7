"""BackupShareService."""

from typing import Final

from cbrgateway.v1 import backup_share_pb2 as pb

from gateway.operations import share_state
from gateway.upstream.amounts import Metric, ResourceDelta, Sharing
from gateway.upstream.read_back import within
from gateway.upstream.traits import Deltas, Fields, ReadBack, Traits


def _members(request: pb.AddBackupMembersRequest, _current: object) -> Deltas:
    return (
        ResourceDelta(
            Metric.MEMBERS_PER_BACKUP,
            len(request.project_ids) + len(request.domains),
            request.backup_id,
        ),
    )


ADD_BACKUP_MEMBERS: Final = Traits[pb.AddBackupMembersRequest, pb.AddBackupMembersResponse](
    rpc="BackupShareService/AddBackupMembers",
    refused=share_state.sharing_refused,
    deltas=_members,
    shares=lambda request: Sharing(
        request.backup_id, added=frozenset(request.project_ids), accounts=bool(request.domains)
    ),
)


def _member_updated(
    change: ReadBack[pb.UpdateBackupMemberRequest, pb.GetBackupMemberResponse],
) -> Fields | None:
    member = change.observed.member
    return (
        {"member": member}
        if within(change.sent, change.read.get("member", {}), member.DESCRIPTOR)
        else None
    )


UPDATE_BACKUP_MEMBER: Final = Traits[pb.UpdateBackupMemberRequest, pb.UpdateBackupMemberResponse](
    rpc="BackupShareService/UpdateBackupMember",
    refused=share_state.accepting_refused,
    read_back=_member_updated,
)

DELETE_BACKUP_MEMBER: Final = Traits[pb.DeleteBackupMemberRequest, pb.DeleteBackupMemberResponse](
    rpc="BackupShareService/DeleteBackupMember",
    refused=share_state.unsharing_refused,
    shares=lambda request: Sharing(request.backup_id, removed=frozenset({request.member_id})),
)
