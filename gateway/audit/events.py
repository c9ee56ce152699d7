"""The catalogue of what is recorded, and the records that the gateway makes by itself.

Codes are stable: a meaning may be added, never changed or used again.
"""

import os
import time
from enum import StrEnum
from importlib.metadata import version
from typing import Final, Unpack

from msgspec import Struct

from gateway.audit.chain import ascii_json
from gateway.audit.record import (
    OCSF_VERSION,
    Actor,
    Api,
    Cloud,
    Endpoint,
    Metadata,
    OwnFields,
    Product,
    Record,
    Resource,
    Service,
    Unmapped,
    User,
    activity,
)

PRODUCT: Final = Product(
    name="CBR Gateway", vendor_name="cbrgateway", version=version("cbr-gateway")
)
CLOUD: Final = "Huawei Cloud"
SELF: Final = "cbr-gateway"
API_VERSION: Final = "v1"
PROFILES: Final = ("cloud",)
INFORMATIONAL: Final = 1
_SUCCESS: Final = 1
_OF_RESULTS: Final = {"NOTHING": (2, 2), "UNKNOWN": (0, 3)}
"""OCSF's status_id and severity_id of a change that was not made, or of which nobody knows."""


class Stage(StrEnum):
    """Where in the life of a call, a stream or a task a record stands."""

    INTENT = "INTENT"
    OUTCOME = "OUTCOME"
    RECONCILED = "RECONCILED"
    STREAM_START = "STREAM_START"
    STREAM_PROGRESS = "STREAM_PROGRESS"
    STREAM_END = "STREAM_END"
    TASK_TERMINAL = "TASK_TERMINAL"
    LOG = "LOG"


class Event(Struct, frozen=True):
    """One kind of record. `text`: what it says to a person."""

    code: str
    name: str
    stage: Stage
    text: str

    def message(self, operation: str) -> str:
        return f"{self.name} {operation}"


READ_ENDED: Final = Event(
    "CBG100",
    "READ_ENDED",
    Stage.OUTCOME,
    "A call that changes nothing was answered, or failed at CBR.",
)
CALL_REFUSED: Final = Event(
    "CBG101",
    "CALL_REFUSED",
    Stage.OUTCOME,
    "A call was refused, and nothing of it was sent to CBR.",
)
CHANGE_INTENDED: Final = Event(
    "CBG200",
    "CHANGE_INTENDED",
    Stage.INTENT,
    "A change is about to be made. On disk before the first byte goes to CBR.",
)
CHANGE_ENDED: Final = Event(
    "CBG201",
    "CHANGE_ENDED",
    Stage.OUTCOME,
    "The call of a change ended; `fate` says what became of the change.",
)
CHANGE_SETTLED: Final = Event(
    "CBG202",
    "CHANGE_SETTLED",
    Stage.RECONCILED,
    "What became of a change was learnt after its call had ended.",
)
CHANGE_UNRESOLVED: Final = Event(
    "CBG203",
    "CHANGE_UNRESOLVED",
    Stage.RECONCILED,
    "The process ended during a change; whether it was made is not known yet.",
)
MARK_REMOVED: Final = Event(
    "CBG204",
    "MARK_REMOVED",
    Stage.OUTCOME,
    "The gateway takes its own tag, which shows by which change a vault was made, off the vault:"
    " its caller needs the place.",
)
CHANGE_VALIDATED: Final = Event(
    "CBG205",
    "CHANGE_VALIDATED",
    Stage.OUTCOME,
    "A call asked what a change would do (`validate_only`): nothing was changed.",
)
STREAM_STARTED: Final = Event(
    "CBG300", "STREAM_STARTED", Stage.STREAM_START, "A stream was opened."
)
STREAM_PROGRESSED: Final = Event(
    "CBG301",
    "STREAM_PROGRESSED",
    Stage.STREAM_PROGRESS,
    "A stream goes on; how many messages it has carried.",
)
STREAM_ENDED: Final = Event(
    "CBG302", "STREAM_ENDED", Stage.STREAM_END, "A stream ended; `status_code` says how."
)
STREAM_UNRESOLVED: Final = Event(
    "CBG303",
    "STREAM_UNRESOLVED",
    Stage.STREAM_END,
    "The process ended while a stream was open: its end is unknown, and nobody is there any more.",
)
TASK_ENDED: Final = Event(
    "CBG400",
    "TASK_ENDED",
    Stage.TASK_TERMINAL,
    "Work came to its end at CBR: `unmapped.task.outcome` says how, `status_detail` why.",
)
LOG_OPENED: Final = Event(
    "CBG900",
    "LOG_OPENED",
    Stage.LOG,
    "First record of a segment: which writer, and what the segment before ended with.",
)
LOG_CLOSED: Final = Event(
    "CBG901", "LOG_CLOSED", Stage.LOG, "Last record of a segment that was closed properly."
)
LOG_RECOVERED: Final = Event(
    "CBG902",
    "LOG_RECOVERED",
    Stage.LOG,
    "Records can be written again; how many of which could not be kept meanwhile.",
)
LOG_REPAIRED: Final = Event(
    "CBG903",
    "LOG_REPAIRED",
    Stage.LOG,
    "The last line was incomplete after a crash and was set aside.",
)
SEGMENTS_REMOVED: Final = Event(
    "CBG904",
    "SEGMENTS_REMOVED",
    Stage.LOG,
    "Segments older than the retention are about to be removed.",
)
CLOCK_STEPPED_BACK: Final = Event(
    "CBG905",
    "CLOCK_STEPPED_BACK",
    Stage.LOG,
    "The clock went back: times before and after overlap, sequence numbers do not.",
)
CHECKPOINT: Final = Event(
    "CBG906",
    "CHECKPOINT",
    Stage.LOG,
    "The signed head of the chain, as it was anchored in another place.",
)
SEGMENT_DISPLACED: Final = Event(
    "CBG907",
    "SEGMENT_DISPLACED",
    Stage.LOG,
    "The file that was written to was removed, moved, replaced or changed by somebody; `displaced`"
    " says which.",
)

CATALOGUE: Final = (
    READ_ENDED,
    CALL_REFUSED,
    CHANGE_INTENDED,
    CHANGE_ENDED,
    CHANGE_SETTLED,
    CHANGE_UNRESOLVED,
    MARK_REMOVED,
    CHANGE_VALIDATED,
    STREAM_STARTED,
    STREAM_PROGRESSED,
    STREAM_ENDED,
    STREAM_UNRESOLVED,
    TASK_ENDED,
    LOG_OPENED,
    LOG_CLOSED,
    LOG_RECOVERED,
    LOG_REPAIRED,
    SEGMENTS_REMOVED,
    CLOCK_STEPPED_BACK,
    CHECKPOINT,
    SEGMENT_DISPLACED,
)


def own_record(
    event: Event,
    *,
    subject: str = "",
    tenant: str = "",
    principal: str = "",
    project: str = "",
    operation: str = "Audit/Log",
    resources: tuple[Resource, ...] = (),
    **more: Unpack[OwnFields],
) -> bytes:
    """The body of a record about the log.

    `subject`, `principal`, `project` and `resources`: the change that it is about, whose it was,
    and its objects, if any; `more`: what only some of them have.
    """
    number, name, type_uid = activity("other")
    status_id, severity_id = _OF_RESULTS.get(
        more.get("change_result", ""), (_SUCCESS, INFORMATIONAL)
    )
    record = Record(
        activity_id=number,
        activity_name=name,
        type_uid=type_uid,
        severity_id=severity_id,
        status_id=status_id,
        time=round(time.time() * 1000),
        message=event.message(operation),
        metadata=metadata(event, subject, tenant),
        actor=Actor(user=User(name=principal) if principal else None, app_name=SELF),
        api=Api(
            operation=operation,
            service=Service(name=operation.partition("/")[0]),
            version=API_VERSION,
        ),
        src_endpoint=Endpoint(name=SELF),
        cloud=Cloud(provider=CLOUD, project_uid=project),
        resources=resources,
        unmapped=Unmapped(stage=event.stage, event=event.name, **more),
    )
    return ascii_json(record)


def metadata(event: Event, correlation: str, tenant: str) -> Metadata:
    return Metadata(
        uid=os.urandom(16).hex(),
        event_code=event.code,
        version=OCSF_VERSION,
        product=PRODUCT,
        correlation_uid=correlation,
        tenant_uid=tenant,
        profiles=PROFILES,
    )
