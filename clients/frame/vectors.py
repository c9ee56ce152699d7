"""Writes clients/vectors.json: messages as bytes, and what every language must find in them.

Written back they must be the same bytes.

All facts are text. `unset` is a field that is not there, which is not the same as its zero.
`make generate` writes the file.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Final

from cbrgateway.v1 import checkpoint_pb2, task_pb2, types_pb2, vault_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clients.frame.languages import CLIENTS

FILE: Final = CLIENTS / "vectors.json"
_UNKNOWN: Final = 4711
_AFTER_2_53: Final = 2**53 + 1
_MANY: Final = 1000


def _task(progress_percent: int | None = None) -> task_pb2.Task:
    details = task_pb2.TaskDetails(common=task_pb2.TaskCommon(progress_percent=progress_percent))
    return task_pb2.Task(id="task", details=details)


def _timed(start: Timestamp, end: Timestamp | None = None) -> task_pb2.Task:
    return task_pb2.Task(id="task", start_time=start, end_time=end)


def _cases() -> Iterator[tuple[str, Message, Mapping[str, object]]]:
    """Name, message, and facts."""
    other = task_pb2.Task(type=task_pb2.TASK_TYPE_OTHER, type_raw="defragment")
    yield "a word of CBR that the protos do not know", other, {"type": 1, "type_raw": "defragment"}
    newer = task_pb2.Task(status=_UNKNOWN)  # type: ignore[arg-type]  # the very point
    yield "a value of an enum that is newer than the client", newer, {"status": _UNKNOWN}
    yield "an optional number that is not set", _task(), {"progress_percent": "unset"}
    yield "an optional number that is zero", _task(progress_percent=0), {"progress_percent": 0}
    large = checkpoint_pb2.CheckpointResource(backup_size_mib=_AFTER_2_53)
    yield "an integer beyond 2 to the power of 53", large, {"backup_size_mib": _AFTER_2_53}
    largest = checkpoint_pb2.CheckpointResource(backup_size_mib=2**63 - 1)
    yield "the largest integer", largest, {"backup_size_mib": 2**63 - 1}
    last = _timed(Timestamp(seconds=253402300799, nanos=999999999))
    yield (
        "the last nanosecond of the year 9999, and no end",
        last,
        {"start_seconds": 253402300799, "start_nanos": 999999999, "end_time": "unset"},
    )
    early = _timed(Timestamp(seconds=-2, nanos=500000000), Timestamp())
    yield (
        "a time before 1970, and an end at its very beginning",
        early,
        {"start_seconds": -2, "start_nanos": 500000000, "end_time": 0},
    )
    rows = [
        types_pb2.Vault(id=f"v{i}", billing=types_pb2.Billing(used_mib=_AFTER_2_53 + i))
        for i in range(_MANY)
    ]
    facts = {"count": _MANY, "last_id": f"v{_MANY - 1}", "last_used_mib": _AFTER_2_53 + _MANY - 1}
    yield "a list of a thousand rows", vault_pb2.ListVaultsResponse(vaults=rows), facts


def text() -> str:
    """One line for each vector."""
    vectors = (
        {
            "name": name,
            "message": message.DESCRIPTOR.name,
            "facts": {key: str(value) for key, value in facts.items()},
            "base64": base64.b64encode(message.SerializeToString(deterministic=True)).decode(),
        }
        for name, message, facts in _cases()
    )
    return "[\n  " + ",\n  ".join(json.dumps(vector) for vector in vectors) + "\n]\n"
