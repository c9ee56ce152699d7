"""Whether one of the objects that have the name of a create without a marker is its own.

A name proves nothing: others give it, too. So the namesakes are listed before the create is sent, and kept with it. One that is there afterwards is
the create's own only if all of this holds:

    it was not there before: not in that list, and not dated by CBR before the create was sent
    no other operation owns it, of whatever tenant, and none whose outcome is open may have made it
    it shows every member that was sent, with the same value

One of which the first two hold and not the third, or of which nobody knows whether it was there before, is a person's to judge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.changes.case import Case
from gateway.changes.record import OperationDetail
from gateway.state import OperationView, State
from gateway.upstream import codec
from gateway.upstream.marker import MARKER
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.remote_clock import latest
from gateway.upstream.values import Json

_REACH_S: Final = 1800.0
"""How long before a create another one may have begun that can have made what is taken for its own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a create makes. `member`: of its request, and `rows` of the answer to `listing`; `made`: when CBR says that a row was made."""

    member: str
    listing: str
    rows: str
    made: Callable[[Any], Timestamp]
    filters_names: bool = False

    async def all(self, reader: UpstreamReader, project: str) -> list[Any]:
        """Raises GatewayError when any page fails."""
        return await reader.rows(self.listing, project, self.rows)

    def name(self, request: Any) -> str:  # noqa: ANN401 - the request of any create
        return str(getattr(request, self.member).name)

    async def named(self, reader: UpstreamReader, project: str, name: str) -> list[Any]:
        """Those that have the name. Raises as `all`."""
        filters = {"name": name} if self.filters_names else {}
        return [row for row in await reader.rows(self.listing, project, self.rows, **filters) if row.name == name]


_VAULT: Final = Kind("vault", "VaultService/ListVaults", "vaults", lambda vault: vault.create_time, filters_names=True)
KINDS: Final[Mapping[str, Kind]] = {
    "VaultService/CreateVault": _VAULT,
    "VaultService/OrderVault": _VAULT,
    "PolicyService/CreatePolicy": Kind("policy", "PolicyService/ListPolicies", "policies", lambda policy: policy.trigger.properties.start_time),
}
"""RPC -> what it makes."""


def topic(project_id: str) -> str:
    """The word under which the store lists what makes vaults and policies in a project of CBR, for whatever tenant."""
    return f"creates {project_id}"


class Verdict(Enum):
    OURS = auto()
    NONE = auto()
    """Nothing that is there can be the operation's."""
    OPEN = auto()
    """Another operation whose outcome is not known may have made it."""
    DOUBTFUL = auto()


async def judge(rows: Sequence[Any], case: Case) -> tuple[Verdict, Sequence[Any]]:
    """The verdict, and the rows that it is about. `rows`: all that CBR lists of the kind. Raises StoreDown or KeyError."""
    kind = KINDS[case.op.rpc]
    fresh = [row for row in rows if row.name == kind.name(case.request) and not _existed(row, kind, case)]
    # Read after the rows: whoever made one of them is then known to have begun.
    began = await case.claims.store.on_topic(topic(case.reader.known(case.project).project_id), case.op.created_at - _REACH_S)
    others = [other for other in began if other.id != case.op.id]
    owned = {other.resource_id for other in others}
    free = [row for row in fresh if row.id not in owned and not _marked(row)]
    if not free:
        return Verdict.NONE, ()
    if any(_may_have_made(other, kind, case) for other in others):
        return Verdict.OPEN, free
    if len(free) > 1 or case.trace.namesakes is None or not _as_sent(free[0], kind, case):
        return Verdict.DOUBTFUL, free
    return Verdict.OURS, free


def _existed(row: Any, kind: Kind, case: Case) -> bool:  # noqa: ANN401 - a row of any list
    """Whether an object was there before the create was sent, as far as is known."""
    trace = case.trace
    if row.id in (trace.namesakes or ()):
        return True
    comparable = case.reader.clock(trace.project).comparable(trace.sent, trace.accepted)
    return comparable and trace.sent is not None and latest(kind.made(row)) < trace.sent.earliest


def _marked(row: Any) -> bool:  # noqa: ANN401
    """Whether an object carries the marker of another operation."""
    return "tags" in row.DESCRIPTOR.fields_by_name and any(tag.key == MARKER for tag in row.tags)


def _may_have_made(other: OperationView, kind: Kind, case: Case) -> bool:
    """Whether another operation, of which it is not known what it made, can have made something without a marker under the name."""
    unknown = other.state in {State.SENT, State.UNKNOWN} or (other.state is State.COMMITTED and not other.resource_id)
    if not unknown or KINDS[other.rpc] is not kind:
        return False
    trace = OperationDetail.of(other.detail)
    return not trace.marked and kind.name(case.reader.catalog[other.rpc].request_type.FromString(trace.request)) == kind.name(case.request)


def _as_sent(row: Any, kind: Kind, case: Case) -> bool:  # noqa: ANN401 - a row of any list
    sent = case.binding.members(case.request)[kind.member]
    listed = case.reader.catalog[kind.listing]
    shown = listed.response_plan.write(listed.response_type(**{kind.rows: [row]}))[kind.rows]
    assert isinstance(sent, dict)
    assert isinstance(shown, list)
    return shows(sent, shown[0], row.DESCRIPTOR)


def shows(sent: Mapping[str, Json], read: Mapping[str, Json], of: Descriptor) -> bool:
    """Whether every member of `sent` that messages of the type can show is in `read`, with the same value; lists in any order."""
    fields = {codec.json_key(fd): fd for fd in of.fields}
    return all(_same(value, read.get(key), fields[key]) for key, value in sent.items() if key in fields)


def _same(sent: Json, read: Json, fd: FieldDescriptor) -> bool:
    if read is None:
        return sent is None or (not fd.has_presence and not sent)
    if isinstance(sent, dict) and isinstance(read, dict) and fd.message_type is not None:
        return shows(sent, read, fd.message_type)
    if isinstance(sent, list) and isinstance(read, list):
        left = list(read)
        for each in sent:
            match = next((other for other in left if _same_item(each, other, fd)), None)
            if match is None:
                return False
            left.remove(match)
        return not left
    return bool(sent == read)


def _same_item(sent: Json, read: Json, fd: FieldDescriptor) -> bool:
    if isinstance(sent, dict) and isinstance(read, dict) and fd.message_type is not None:
        return shows(sent, read, fd.message_type)
    return bool(sent == read)
