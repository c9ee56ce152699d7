"""What has to be known of an RPC that its declaration does not say: one value per RPC, filled in
`gateway.operations`, used as `binding.traits`.

A trait that is left out says that the RPC needs none. Whether all that an RPC needs is there is
checked at the start (trait_rules.py).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from cbrgateway.v1 import types_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from gateway.upstream.amounts import Metric, Resize, ResourceDelta, Sharing
from gateway.upstream.look import Look, Refusal
from gateway.upstream.losses import AnyLosing
from gateway.upstream.task_search import Search, Task
from gateway.upstream.values import Json

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

Observed = TypeVar("Observed", bound=Message)
Row = TypeVar("Row", bound=Message)
Request_co = TypeVar("Request_co", bound=Message, covariant=True)
Observed_co = TypeVar("Observed_co", bound=Message, covariant=True)

Deltas: TypeAlias = Sequence[ResourceDelta]
Fields: TypeAlias = Mapping[str, Any]
"""Constructor arguments of a response."""


class Read(Struct, Generic[Observed], frozen=True):
    """A read of one object: from its id to the request, and what it shows."""

    request: Callable[[str], Message]
    response: type[Observed]


class ObjectRead(Struct, Generic[Request, Observed], frozen=True):
    """The read that shows the object of a request."""

    read: Read[Observed]
    id_of: Callable[[Request], str]

    def request(self, request: Request) -> Message:
        """Of the read."""
        return self.read.request(self.id_of(request))

    @property
    def response(self) -> type[Observed]:
        return self.read.response


class ReadFirst(Struct, Generic[Request], frozen=True, kw_only=True):
    """The object on which amounts depend, read only where one of the metrics has a limit."""

    shown_by: ObjectRead[Request, Any]
    metrics: frozenset[Metric]


class ReadBack(Struct, Generic[Request_co, Observed_co], frozen=True):
    """A change and what was read afterwards, both as messages and as CBR's JSON."""

    request: Request_co
    observed: Observed_co
    sent: dict[str, Json]
    read: dict[str, Json]


class Creation(Struct, Generic[Row], frozen=True, kw_only=True):
    """What a create makes, as a list of CBR shows it.

    `listed`: the request for all of them; `named`: for those of one name, where the list can be
    asked for it. `member`: of the create's request, which holds what is made.

    `made`: when CBR says that a row was made; `response`: of the create that made it.
    """

    row: type[Row]
    listed: Callable[[], Message]
    named: Callable[[str], Message] | None = None
    member: str
    made: Callable[[Row], Timestamp]
    response: Callable[[Row], Fields]


class Proven(Struct, frozen=True):
    """`response`: None where a read shows that the change was carried out, not what came of it."""

    response: Fields | None = None


class Proof(Struct, Generic[Request, Observed], frozen=True, kw_only=True):
    """Objects that show by their state that a change was carried out; one that is not there shows
    that it was not. None: they do not show it.
    """

    read: Read[Observed]
    ids: Callable[[Request], Sequence[str]]
    proven: Callable[[Sequence[ReadBack[Request, Observed]]], Proven | None]


class Result(Struct, Generic[Observed], frozen=True, kw_only=True):
    """The object that a task names and that shows the response of the change behind the task."""

    shown_by: ObjectRead[Task, Observed]
    response: Callable[[Observed], Fields]


class Mark(Struct, Generic[Request], frozen=True, kw_only=True):
    """The mark of its operation on what a change creates (marker.py): whether there is room beside
    what the caller wants, where the cloud lets a vault have so many tags, and how it is set.
    """

    has_room: Callable[[Request, int], bool]
    put: Callable[[Request, str], None]


class Traits(Struct, Generic[Request, Response], frozen=True, kw_only=True):
    """Everything below is about one RPC.

    deltas      from the request and the object as it is now (None: not found, or not read) to the
                amounts by which limits are used
    read_first  that object
    resize      the new size of a vault
    shares      with whom a backup is shared
    expands     whether the vault would grow by itself, so that no limit on capacity could hold
    created_id  from the response to the id of what was created
    price       from the request and its vault as it is now (None: not shown) to by what it costs
    losing      what it destroys beside the object that it names
    refused     why CBR would refuse it as its objects are now; None: nothing that they show is
                against it. Asked only where a change is validated: one that is sent hears CBR
    gone        the read that no longer shows an object once the change has deleted it
    read_back   from what was read after the change to its response; None: the change is not in
                force. For what read_back.py cannot tell by itself
    search      from the request and its response (None: not known) to what the tasks that it starts
                look like
    answer      from the request and those tasks to the response, as far as they show it
    result      the object that shows it instead
    description what the backups of those tasks have as their description, by which they are told
    from others

    Where it is not known whether a change was carried out (changes/evidence.py):
    creates     what it makes, which is then looked for
    proof       objects that show it by their state
    mark        of what it creates
    check_answer raises ProtocolError for an answer of CBR that is none to this request, though it
                would be one to others
    counts      whether a request asks a list for the number of its rows alone

    In a project that tenants share (ownership.py):
    sieve       whether a row of a list that CBR cannot filter is of an enterprise project, or
                nobody's
    check_owner raises FIELD_INVALID for what a tenant of an enterprise project must not ask for
    """

    rpc: str
    deltas: Callable[[Request, Any], Deltas] | None = None
    read_first: ReadFirst[Request] | None = None
    resize: Callable[[Request], Resize] | None = None
    shares: Callable[[Request], Sharing] | None = None
    expands: Callable[[Request], bool] | None = None
    created_id: Callable[[Response], str] | None = None
    price: Callable[[Request, types_pb2.Vault | None], types_pb2.PriceClass] | None = None
    losing: AnyLosing | None = None
    refused: Callable[[Request, Look], Awaitable[Refusal | None]] | None = None
    gone: ObjectRead[Request, Any] | None = None
    read_back: Callable[[ReadBack[Request, Any]], Fields | None] | None = None
    search: Callable[[Request, Response | None], Search] | None = None
    answer: Callable[[Request, Sequence[Task]], Fields] | None = None
    result: Result[Any] | None = None
    description: Callable[[Request], str] | None = None
    creates: Creation[Any] | None = None
    proof: Proof[Request, Any] | None = None
    mark: Mark[Request] | None = None
    check_answer: Callable[[Request, Json], None] | None = None
    counts: Callable[[Request], bool] | None = None
    sieve: Callable[[Any, str], bool] | None = None
    check_owner: Callable[[Request, str], None] | None = None


AnyCreation: TypeAlias = Creation[Any]
AnyProof: TypeAlias = Proof[Any, Any]
AnyObjectRead: TypeAlias = ObjectRead[Any, Any]
AnyTraits: TypeAlias = Traits[Any, Any]
"""Of whatever RPC: code that serves all has the right request at hand, and cannot tell its type."""
