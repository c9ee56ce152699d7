"""Category backup_share: backups shown to other projects.

`{member_id}` of the paths is the recipient's project id.
"""

from emulator import fields
from emulator.errors import invalid, service_error
from emulator.fields import PAGING, Need, q_text, q_word
from emulator.model import Backup, Member
from emulator.routing import Call, Route, in_order, only_count, page
from emulator.views import member_view

MAX_SHARES = 10
SORT_KEYS = ("created_at", "updated_at", "status", "id")


def _owned(call: Call) -> Backup:
    return call.world.backup(call.project_id, call.params["backup_id"])


def add_member(call: Call) -> object:
    """Offer a backup to projects of the same region, all or none."""
    backup = _owned(call)
    recipients = [*call.body.get("members", []), *_of_domains(call, call.body.get("domains", []))]
    if not recipients:
        raise invalid("members", "is required")
    _check_shareable(call, backup)
    shares = call.world.members.setdefault(backup.id, {})
    for project_id in recipients:
        _check_recipient(call, project_id)
        if project_id in shares:
            raise service_error(6703, "The backup is shared with this project already.")
    if len(shares) + len(recipients) > MAX_SHARES:
        raise service_error(6701, f"A backup can be shared with {MAX_SHARES} projects.")
    added = [
        Member(call.world.ids.new(), backup.id, project_id, call.world.clock.now())
        for project_id in dict.fromkeys(recipients)
    ]
    shares.update((member.dest_project_id, member) for member in added)
    return {"members": [member_view(member) for member in added], "count": len(added)}


def _of_domains(call: Call, names: list[str]) -> list[str]:
    """Return one project for each account (by id or name): its first in the caller's region."""
    chosen = []
    for name in names:
        projects = [
            project.id
            for account in call.world.settings.accounts
            if name in {account.domain_id, account.domain_name}
            for project in account.projects
            if project.region == call.project.region
        ]
        if not projects:
            raise service_error(6704, "The recipient is invalid.")
        chosen.append(projects[0])
    return chosen


def _check_shareable(call: Call, backup: Backup) -> None:
    if not backup.children:
        raise service_error(6700, "Only backups of servers can be shared.")
    if backup.status != "available":
        raise service_error(6702, "Only available backups can be shared.")
    if any(child.encrypted for child in backup.children):
        raise service_error(6709, "Backups of servers with encrypted disks cannot be shared.")
    if call.world.vaults[backup.vault_id].status != "available":
        raise service_error(6712, "The status of the vault does not allow sharing.")


def _check_recipient(call: Call, project_id: str) -> None:
    project = call.world.projects.get(project_id)
    if project is None or project.id == call.project_id or project.region != call.project.region:
        raise service_error(6704, "The recipient project is invalid.")


def _shares(call: Call) -> list[Member]:
    """Return what the caller may see: the owner all shares, a recipient its own."""
    backup_id = call.params["backup_id"]
    shares = list(call.world.members.get(backup_id, {}).values())
    mine = [member for member in shares if member.dest_project_id == call.project_id]
    if mine:
        return mine
    call.world.backup(call.project_id, backup_id)
    return shares


def show_members(call: Call) -> object:
    """Answer the shares of a backup."""
    names = ("dest_project_id", "image_id", "status", "vault_id")
    wanted = {name: call.query[name] for name in names if name in call.query}
    found = [
        member
        for member in _shares(call)
        if all(getattr(member, name) == value for name, value in wanted.items())
    ]
    shown, totals = page(call, in_order(found, call.query.get("sort"), SORT_KEYS), marker=True)
    return {"members": [member_view(member) for member in shown], **only_count(totals)}


def _member(call: Call) -> Member:
    for member in _shares(call):
        if member.dest_project_id == call.params["member_id"]:
            return member
    raise service_error(6705, "The member does not exist.")


def show_member(call: Call) -> object:
    """Answer one share."""
    return {"member": member_view(_member(call))}


def update_member(call: Call) -> object:
    """Accept (into a server vault of the recipient) or reject; only the recipient may."""
    member = _member(call)
    status, vault_id = call.body["status"], call.body.get("vault_id")
    if call.project_id != member.dest_project_id or status == "pending":
        raise service_error(6706, "Only the recipient can accept or reject.")
    if status == "accepted":
        if vault_id is None:
            raise service_error(6706, "vault_id is required to accept.")
        vault = call.world.vault(call.project_id, vault_id)
        if (vault.object_type, vault.protect_type) != ("server", "backup"):
            raise service_error(6713, "The vault has another type.")
        member.vault_id = vault.id
    member.status = status
    member.updated_at = call.world.clock.now()
    return {"member": member_view(member)}


def delete_member(call: Call) -> None:
    """Take a share back."""
    backup, member = _owned(call), _member(call)
    if member.image_id is not None:
        raise service_error(6710, "The shared backup is registered as an image.")
    del call.world.members[backup.id][member.dest_project_id]


ADD_BODY = fields.record(
    members=fields.many(fields.text(1), 1, 10), domains=fields.many(fields.text(1))
)
UPDATE_BODY = fields.record(
    status=Need(fields.word("accepted", "pending", "rejected")), vault_id=fields.text(1)
)
LIST_QUERY = {
    **PAGING,
    "dest_project_id": q_text,
    "image_id": q_text,
    "status": q_word("pending", "accepted", "rejected"),
    "vault_id": q_text,
    "sort": q_text,
}
MEMBERS = "/v3/{project_id}/backups/{backup_id}/members"

ROUTES = (
    Route("ShowMembersDetail", "GET", MEMBERS, show_members, query=LIST_QUERY),
    Route("AddMember", "POST", MEMBERS, add_member, body=ADD_BODY),
    Route("ShowMemberDetail", "GET", MEMBERS + "/{member_id}", show_member),
    Route("UpdateMemberStatus", "PUT", MEMBERS + "/{member_id}", update_member, body=UPDATE_BODY),
    Route("DeleteMember", "DELETE", MEMBERS + "/{member_id}", delete_member, 204),
)
