"""A record as OCSF describes it: class 6003, API Activity, one JSON object.

What OCSF has no place for stands in `unmapped`, the last member, to which the chain adds the line's
number and MAC.
"""

from typing import Annotated, Any, Final, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.upstream.losses import Loss

OCSF_VERSION: Final = "1.5.0"
_CLASS: Final = 6003

ACTIVITIES: Final = {
    "create": (1, "Create"),
    "read": (2, "Read"),
    "update": (3, "Update"),
    "delete": (4, "Delete"),
    "other": (99, "Other"),
}


Mac = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0, lt=10**15)]
WriterName = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,63}$")]


class User(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`name`: the principal. `credential_uid`: a keyed hash of what it showed."""

    name: str = ""
    credential_uid: str = ""


class Policy(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    uid: str


class Authorization(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """`decision`: Allowed or Denied, for the action that `policy` names."""

    decision: str
    policy: Policy


class Actor(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who acts. `app_name` is set where the gateway itself does."""

    user: User | None = None
    app_name: str = ""
    authorizations: tuple[Authorization, ...] = ()


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`uid`: the call's id. `data`: the request's fields, redacted."""

    uid: str
    data: Any = None


class Response(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`code`: the gRPC code's number. `error`: the reason."""

    code: int
    error: str = ""
    message: str = ""
    data: Any = None


class Service(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    name: str


class Api(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`operation`: `VaultService/CreateVault`."""

    operation: str
    service: Service
    version: str
    request: Request | None = None
    response: Response | None = None


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`ip`: the caller's. `intermediate_ips`: trusted proxies between, nearest last."""

    ip: str = ""
    port: int = 0
    name: str = ""
    intermediate_ips: tuple[str, ...] = ()


class Cloud(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where at the vendor the call belongs."""

    provider: str
    region: str = ""
    project_uid: str = ""


class Product(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    name: str
    vendor_name: str
    version: str


class Metadata(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`uid`: the record's own id.

    `correlation_uid`: the same in all records of a change, from its intent to the end of its tasks.
    """

    uid: str
    event_code: str
    version: str
    product: Product
    correlation_uid: str = ""
    tenant_uid: str = ""
    profiles: tuple[str, ...]


class Resource(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An object that the call is about: `vault` and its id."""

    type: str
    uid: str


class Upstream(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The calls to CBR.

    `sent`: whether the call that `verb` and `path` name was: no, maybe or yes. `attempts`: those of
    a read for it, where the change ended with that. `status`, `code` and `request_id` are those of
    the last answer.
    """

    verb: str
    path: str
    operation: str
    sent: str
    attempts: int
    duration_ms: int
    status: int | None = None
    code: str = ""
    request_id: str = ""


class Previous(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a segment ended with.

    `abandoned`: writing to it failed, so that whatever stands behind that line counts for nothing.
    """

    segment: Count
    sequence: Count
    mac: Mac
    abandoned: bool = False


class Displaced(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A segment that somebody else has changed while it was written to, and the last record that it
    should have.
    """

    segment: Count
    sequence: Count
    cause: str


class OpenIntent(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A change of which it is not recorded whether it was made, or a stream without an end.

    `unknown`: that nobody knows is recorded.
    """

    uid: str
    operation: str = ""
    tenant: str = ""
    unknown: bool = False
    stream: bool = False


class Segment(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    writer: WriterName
    number: Count
    previous: Previous | None = None
    open: tuple[OpenIntent, ...] = ()


class Anchor(Struct, frozen=True, kw_only=True):
    """The chain's head at a moment; `signature` is keyed."""

    writer: WriterName
    segment: Count
    sequence: Count
    mac: Mac
    time: Count
    signature: str


class Stream(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`messages`: sent so far."""

    messages: int


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`submission`: the change that started it; `policy`: the name, or else the id, of the policy
    whose run did.

    `outcome`: succeeded, failed, timed_out, skipped, partly_failed, gone or other; `code`: CBR's,
    of why; `caught_up`: told by the first poll of its project after a pause of more than three
    times `watch.idle_s`.
    """

    uid: str
    type: str = ""
    status: str = ""
    outcome: str = ""
    code: str = ""
    submission: str = ""
    policy: str = ""
    caught_up: bool = False


class LeftOut(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The resources that CBR left out of a change: how many, and the ids of the first of them.

    `all`: nothing was started.
    """

    count: int
    uids: tuple[str, ...]
    all: bool = False


class Lost(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a change destroys beside the object that it names: `backup`, or `vault` of those that
    lose a policy; how many, and the ids of the first 1000.

    `newest_uid` and `newest_time`, in milliseconds since 1970: of the newest. `unknown`: CBR could
    not be asked, or shows nothing that tells which go.
    """

    type: str
    count: int
    uids: tuple[str, ...] = ()
    newest_uid: str = ""
    newest_time: int = 0
    unknown: bool = False

    @classmethod
    def of(cls, loss: Loss) -> "Lost":
        return cls(
            type=loss.kind,
            count=loss.count,
            uids=loss.ids,
            newest_uid=loss.newest_id,
            newest_time=round(loss.newest_at * 1000),
            unknown=loss.unknown,
        )


class Unmapped(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """`change_result`: DONE, NOTHING, UNKNOWN, or PENDING while the change goes on without its
    caller; `fate` in a record, as ever.

    `quota`: allowed or refused. `trace_id`: of the call's OpenTelemetry trace. `validate_only`: the
    call only asked what a change would do.
    """

    stage: str
    event: str
    level: str = ""
    authentication: str = ""
    request_id: str = ""
    trace_id: str = ""
    replayed: bool = False
    validate_only: bool = False
    quota: str = ""
    change_result: str = msgspec.field(default="", name="fate")
    upstream: Upstream | None = None
    stream: Stream | None = None
    task: Task | None = None
    skipped_resources: LeftOut | None = None
    losses: tuple[Lost, ...] = ()
    segment: Segment | None = None
    anchor: Anchor | None = None
    torn_bytes: int = 0
    torn_file: str = ""
    lost: int = 0
    removed: Previous | None = None
    displaced: Displaced | None = None
    back_ms: int = 0


class OwnFields(TypedDict, total=False):
    """The members of Unmapped that records of the gateway itself have."""

    change_result: str
    skipped_resources: LeftOut | None
    task: Task
    segment: Segment
    anchor: Anchor
    torn_bytes: int
    torn_file: str
    lost: int
    removed: Previous
    displaced: Displaced
    back_ms: int


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One record, without what the chain adds. Times are milliseconds since 1970, UTC.

    `duration`: in milliseconds, of a call up to then, or of a task by CBR's clock; left out where
    nobody measured it. `end_time`: of a task that ended, by CBR's clock. `status` and
    `status_detail`: of such a task, and of a call whose caller left.
    """

    class_uid: Literal[6003] = 6003
    category_uid: Literal[6] = 6
    activity_id: int
    activity_name: str
    type_uid: int
    severity_id: int
    status_id: int
    time: int
    message: str
    metadata: Metadata
    actor: Actor
    api: Api
    src_endpoint: Endpoint
    cloud: Cloud
    resources: tuple[Resource, ...] = ()
    duration: int | UnsetType = UNSET
    end_time: int | UnsetType = UNSET
    status: str | UnsetType = UNSET
    status_code: str = ""
    status_detail: str | UnsetType = UNSET
    unmapped: Unmapped


class Sealed(Unmapped, frozen=True, kw_only=True):
    """With what the chain adds."""

    sequence: int
    mac: Mac


class Line(Record, frozen=True, kw_only=True):
    """One line of a log: an OCSF API Activity of CBR Gateway."""

    unmapped: Sealed


def schema() -> dict[str, Any]:
    """The JSON Schema of a line."""
    shape = msgspec.json.schema(Line)
    for part in shape["$defs"].values():
        if "description" in part:
            part["description"] = " ".join(part["description"].split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape}


def activity(kind: str) -> tuple[int, str, int]:
    """OCSF's activity id, name and type id for create, read, update, delete or other."""
    number, name = ACTIVITIES[kind]
    return number, name, _CLASS * 100 + number
