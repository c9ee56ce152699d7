"""The events, as CloudEvents 1.0 in JSON.

Type names are stable: members may be added to a version, never changed or removed. What is told is
what the audit log shows: ids, codes and words of the gateway, nothing that a caller has written.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_type_hints

import msgspec

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/cloudevents+json"

TypeName = Literal[
    "com.cbrgateway.task.ended.v1",
    "com.cbrgateway.change.refused.v1",
    "com.cbrgateway.change.doubtful.v1",
    "com.cbrgateway.change.settled.v1",
    "com.cbrgateway.limit.reached.v1",
    "com.cbrgateway.schedule.missed.v1",
]
TaskOutcome = Literal[
    "succeeded", "failed", "timed_out", "partly_failed", "skipped", "gone", "other"
]
Outcome = Literal[
    "succeeded",
    "failed",
    "timed_out",
    "partly_failed",
    "skipped",
    "gone",
    "other",
    "refused",
    "unknown",
    "carried_out",
    "not_carried_out",
    "reached",
    "missed",
]
Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]


class Resource(msgspec.Struct, frozen=True):
    """An object of CBR. `type`: vault, policy, backup, checkpoint, server, disk or resource."""

    type: str
    id: str


class Lost(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a change destroys beside its object. `type`: backup, or vault of those that lose a
    policy; `ids`: of the first 100; `unknown`: CBR could not be asked, so that `count` says
    nothing. `withheld`: nor does it in a stream whose caller may not list what is lost.
    """

    type: str
    count: int
    ids: tuple[str, ...] = ()
    newest_id: str = ""
    newest_time: dt.datetime | None = None
    unknown: bool = False
    withheld: bool = False


class TaskData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How work at CBR ended.

    `reason` and `text`: why it did not succeed, in the gateway's words; `code`: CBR's.
    `submission`, `operation` and `principal`: the change that started it, if a call of this gateway
    did; `policy`: the policy whose run did. `caught_up`: it ended while no gateway looked.
    `losses`: what that change has destroyed beside its object; none of work that failed.
    """

    outcome: TaskOutcome
    task: str
    task_type: str
    project: str
    tenant: str = ""
    reason: str = ""
    code: str = ""
    text: str = ""
    submission: str = ""
    operation: str = ""
    principal: str = ""
    policy: str = ""
    caught_up: bool = False
    resources: tuple[Resource, ...] = ()
    losses: tuple[Lost, ...] = ()


class RefusedData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A change that was not carried out.

    `call`: the id in the trailer x-request-id. `reason` and `status`: as the caller was told.
    `unlisted`: as many more like it, from before, have no event of their own.
    """

    outcome: Literal["refused"]
    call: str
    operation: str
    status: str
    reason: str
    tenant: str
    principal: str
    project: str = ""
    code: str = ""
    unlisted: int = 0


class _ChangeData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which change it is, and whose."""

    outcome: str
    call: str
    operation: str
    tenant: str
    principal: str
    project: str
    request_id: str = ""


class DoubtfulData(_ChangeData, frozen=True, kw_only=True):
    """A change of which nobody knows whether CBR carried it out.

    `call`: the id in the trailer x-request-id; QuotaService/ListReservations shows it under the
    same one. `request_id`: the caller's.
    """

    outcome: Literal["unknown"]


class SettledData(_ChangeData, frozen=True, kw_only=True):
    """What became of a change of which nobody knew whether CBR carried it out.

    `call`: the id in the trailer x-request-id; that of its event of the doubt, too.
    """

    outcome: Literal["carried_out", "not_carried_out"]


class LimitData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A limit of the configuration of which so many percent are used, with what changes under way
    have reserved.
    """

    outcome: Literal["reached"]
    percent: Literal[80, 100]
    metric: str
    level: str
    subject: str
    limit: int
    used: int
    shadow: bool = False
    tenant: str = ""


class ScheduleData(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run of a backup policy that did not come. `due`: its time; `vaults`: those that were not
    backed up.
    """

    outcome: Literal["missed"]
    policy: str
    policy_name: str
    due: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    project: str
    tenant: str = ""
    vaults: tuple[str, ...] = ()


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every event has. `source` and `id` together are unique: an event that comes twice has
    the same ones.
    """

    specversion: Literal["1.0"] = SPEC_VERSION
    id: Text
    source: Text
    subject: Text
    time: Annotated[dt.datetime, msgspec.Meta(tz=True)]
    datacontenttype: Literal["application/json"] = "application/json"


class TaskEnded(_Envelope, frozen=True, kw_only=True, tag="com.cbrgateway.task.ended.v1"):
    """Work at CBR has ended, whoever began it."""

    data: TaskData


class ChangeRefused(_Envelope, frozen=True, kw_only=True, tag="com.cbrgateway.change.refused.v1"):
    """A change that somebody asked for was not carried out."""

    data: RefusedData


class ChangeDoubtful(_Envelope, frozen=True, kw_only=True, tag="com.cbrgateway.change.doubtful.v1"):
    """Nobody knows whether a change was carried out."""

    data: DoubtfulData


class ChangeSettled(_Envelope, frozen=True, kw_only=True, tag="com.cbrgateway.change.settled.v1"):
    """It is known now whether a change was carried out."""

    data: SettledData


class LimitReached(_Envelope, frozen=True, kw_only=True, tag="com.cbrgateway.limit.reached.v1"):
    """80 or 100 % of a limit are used."""

    data: LimitData


class ScheduleMissed(_Envelope, frozen=True, kw_only=True, tag="com.cbrgateway.schedule.missed.v1"):
    """A policy has not backed vaults up at its time, nor for a while after it."""

    data: ScheduleData


Event: TypeAlias = (
    TaskEnded | ChangeRefused | ChangeDoubtful | ChangeSettled | LimitReached | ScheduleMissed
)

_DATA: Final = {
    kind.__struct_config__.tag: get_type_hints(get_type_hints(kind)["data"])
    for kind in get_args(Event)
}
"""The members of the data of each type."""
OUTCOMES: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(get_args(members["outcome"])) for kind, members in _DATA.items()
}
"""Those that events of each type can have."""
IN_PROJECTS: Final = frozenset(kind for kind, members in _DATA.items() if "project" in members)
"""Types of what happens in a project."""


def type_of(event: Event) -> str:
    return str(event.__struct_config__.tag)


def encoded(event: Event) -> bytes:
    return msgspec.json.encode(event)


def moment(seconds: float) -> dt.datetime:
    """Of seconds since 1970."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def schema() -> dict[str, Any]:
    """The JSON Schema of an event."""
    shape = msgspec.json.schema(Event)
    for part in shape["$defs"].values():
        if "description" in part:
            part["description"] = " ".join(part["description"].split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape}
