"""Whether one of the objects that have the name of a create without a marker is its own.

A name proves nothing: others give it, too. So what is there is listed before the create is sent,
and kept with it. What has the name afterwards is the create's own only if all of this holds:

    it was not there before: not in that list, and not dated by CBR before the create was sent;
    where its date leaves that open, a list that lacks it must not be a late one (`_listed_late`),
    and where no dates can be compared, it must not be one of that name alone (`_renamed`)
    no other operation owns it, of whatever tenant, and none whose outcome is open may have made it
    it shows every member that was sent, with the same value

One of which the first two hold and not the third, or of which nobody knows whether it was there
before, is a person's to judge.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from cbrgateway.v1 import policy_pb2, types_pb2
from google.protobuf.message import Message

from gateway.changes.case import Case
from gateway.changes.record import NOT_UNDERSTOOD, OperationDetail
from gateway.state import OperationView, State
from gateway.upstream.marker import MARKER
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.remote_clock import Span, earliest, is_dated, latest
from gateway.upstream.shown import shows
from gateway.upstream.traits import AnyCreation
from gateway.upstream.wire import rows_field

_REACH_S: Final = 24 * 3600.0
"""How long before a create another may have begun that can have made what is taken for its own:
what was ordered is made once it is paid.
"""

Made: TypeAlias = types_pb2.Vault | policy_pb2.Policy
"""What creates make without a marker, as CBR lists it."""


def name_in(creation: AnyCreation, request: Message) -> str:
    return str(getattr(request, creation.member).name)


async def listed(creation: AnyCreation, reader: UpstreamReader, project: str) -> list[Any]:
    """All that CBR lists of what a create makes. Raises GatewayError when any page fails."""
    return await reader.rows(creation.listed(), creation.row, project)


async def ids_before(
    creation: AnyCreation, reader: UpstreamReader, project: str, name: str
) -> tuple[str, ...]:
    """Of those that have the name; of all, where CBR cannot be asked for a name. Raises as
    `listed`.
    """
    asked = creation.named(name) if creation.named else creation.listed()
    return tuple(row.id for row in await reader.rows(asked, creation.row, project))


def topic(project_id: str) -> str:
    """The word under which the store lists what makes vaults and policies in a project of CBR.

    For whatever tenant.
    """
    return f"creates {project_id}"


class Verdict(Enum):
    OURS = auto()
    NONE = auto()
    """Nothing that is there can be the operation's."""
    OPEN = auto()
    """Another operation whose outcome is not known may have made it."""
    DOUBTFUL = auto()


async def judge(
    creation: AnyCreation, rows: Sequence[Any], case: Case
) -> tuple[Verdict, Sequence[Any]]:
    """The verdict, and the rows that it is about.

    `rows`: all that CBR lists of the kind. Raises StoreDown or KeyError.
    """
    fresh = [
        row
        for row in rows
        if row.name == name_in(creation, case.request) and not _existed(row, creation, case)
    ]
    # Read after the rows: whoever made one of them is then known to have begun.
    began = await case.claims.operations.on_topic(
        topic(case.reader.known(case.project).project_id), case.op.created_at - _REACH_S
    )
    others = [other for other in began if other.id != case.op.id]
    owned = {other.resource_id for other in others}
    free = [row for row in fresh if row.id not in owned and not _marked(row)]
    if not free:
        return Verdict.NONE, ()
    if any(_may_have_made(other, creation, case) for other in others):
        return Verdict.OPEN, free
    if (
        len(free) > 1
        or case.trace.namesakes is None
        or _listed_late(free[0], creation, case)
        or _renamed(free[0], creation, case)
        or not _as_sent(free[0], creation, case)
    ):
        return Verdict.DOUBTFUL, free
    return Verdict.OURS, free


def _existed(row: Made, creation: AnyCreation, case: Case) -> bool:
    """Whether an object was there before the create was sent, as far as is known."""
    if row.id in (case.trace.namesakes or ()):
        return True
    sent = _sent(case)
    return sent is not None and latest(creation.made(row)) < sent.earliest


def _listed_late(row: Made, creation: AnyCreation, case: Case) -> bool:
    """Whether an object may have been there before although the list of then lacks it: one since
    the loss lacked it, too, and its date does not show that it was made after the sending.
    """
    if not case.missed:
        return False
    sent = _sent(case)
    return sent is None or earliest(creation.made(row)) <= sent.latest


def _renamed(row: Made, creation: AnyCreation, case: Case) -> bool:
    """Whether an object may have been there before under another name, for all that is known."""
    undated = _sent(case) is None or not is_dated(creation.made(row))
    return undated and creation.named is not None


def _sent(case: Case) -> Span | None:
    """When the create was sent, by CBR's clock; None where its times cannot be compared with it."""
    trace = case.trace
    return case.reader.clock(trace.project).of_today(trace.sent, trace.accepted)


def _marked(row: Made) -> bool:
    """Whether an object carries the marker of another operation."""
    return isinstance(row, types_pb2.Vault) and any(tag.key == MARKER for tag in row.tags)


def _may_have_made(other: OperationView, creation: AnyCreation, case: Case) -> bool:
    """Whether another operation, of which it is not known what it made, can have made something
    without a marker under the name.
    """
    unknown = other.state in {State.SENT, State.UNKNOWN} or (
        other.state is State.COMMITTED and not other.resource_id
    )
    theirs = case.reader.catalog.bindings.get(other.rpc)
    if (
        not unknown
        or theirs is None
        or theirs.traits.creates is None
        or theirs.traits.creates.row is not creation.row
    ):
        return False
    try:
        trace = OperationDetail.of(other.detail)
        wanted = theirs.request_type.FromString(trace.request)
    except NOT_UNDERSTOOD:
        return True
    return not trace.marked and name_in(creation, wanted) == name_in(creation, case.request)


def _as_sent(row: Made, creation: AnyCreation, case: Case) -> bool:
    sent = case.binding.members(case.request)[creation.member]
    listed = case.reader.catalog.asked_by(creation.listed())
    rows = rows_field(listed.descriptor.output_type)
    shown = listed.response_plan.write(listed.response_type(**{rows: [row]}))[rows]
    assert isinstance(sent, dict)
    assert isinstance(shown, list)
    return shows(sent, shown[0], row.DESCRIPTOR)
