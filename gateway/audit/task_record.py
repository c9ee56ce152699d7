"""The end of a task at CBR, as plain values, and the record that it becomes."""

import time
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from gateway.audit import record as ocsf
from gateway.audit.chain import ascii_json
from gateway.audit.events import API_VERSION, CLOUD, SELF, TASK_ENDED, metadata
from gateway.upstream.losses import Loss

_OPERATION: Final = "Task/Ended"
"""Of a task that no call of this gateway has started: no RPC."""


_OUTCOMES: Final = {
    "succeeded": (1, "Success", 1),
    "failed": (2, "Failure", 4),
    "timed_out": (2, "Failure", 4),
    "partly_failed": (99, "Partly failed", 3),
    "skipped": (99, "Skipped", 3),
    "gone": (0, "Unknown", 3),
    "other": (0, "Unknown", 3),
}
"""OCSF's status_id, its caption, and severity_id: a backup that is taken to exist and does not is
at least medium, and as much missing where it timed out as where it failed.
"""


class TaskActivity(Struct, frozen=True):
    """`reason` and `text`: why it did not succeed. `resources`: (type, id). `principal` and
    `trace_id`: who made the call that started it, and its trace. `began` and `ended`: seconds
    since 1970, 0 where CBR does not tell. `losses`: what that call has destroyed beside its object.
    """

    task: ocsf.Task
    project: str
    tenant: str = ""
    principal: str = ""
    operation: str = ""
    reason: str = ""
    text: str = ""
    resources: tuple[tuple[str, str], ...] = ()
    began: float = 0.0
    ended: float = 0.0
    trace_id: str = ""
    losses: tuple[Loss, ...] = ()

    def body(self) -> bytes:
        """The record as JSON, without what the chain adds."""
        return ascii_json(self.record())

    def record(self) -> ocsf.Record:
        number, name, type_uid = ocsf.activity("other")
        operation = self.operation or _OPERATION
        status_id, status, severity_id = _OUTCOMES[self.task.outcome]
        return ocsf.Record(
            activity_id=number,
            activity_name=name,
            type_uid=type_uid,
            severity_id=severity_id,
            status_id=status_id,
            status=status,
            status_code=self.reason,
            status_detail=self._detail() or UNSET,
            time=round(time.time() * 1000),
            duration=self._duration(),
            end_time=round(self.ended * 1000) if self.ended else UNSET,
            message=self._message(),
            metadata=metadata(TASK_ENDED, self.task.submission, self.tenant),
            actor=ocsf.Actor(
                user=ocsf.User(name=self.principal) if self.principal else None, app_name=SELF
            ),
            api=ocsf.Api(
                operation=operation,
                service=ocsf.Service(name=operation.partition("/")[0]),
                version=API_VERSION,
            ),
            src_endpoint=ocsf.Endpoint(name=SELF),
            cloud=ocsf.Cloud(provider=CLOUD, project_uid=self.project),
            resources=tuple(ocsf.Resource(type=kind, uid=uid) for kind, uid in self.resources),
            unmapped=ocsf.Unmapped(
                stage=TASK_ENDED.stage,
                event=TASK_ENDED.name,
                trace_id=self.trace_id,
                task=self.task,
                losses=tuple(ocsf.Lost.of(each) for each in self.losses),
            ),
        )

    def _duration(self) -> int | UnsetType:
        known = 0 < self.began <= self.ended
        return round((self.ended - self.began) * 1000) if known else UNSET

    def _message(self) -> str:
        by = f", started by policy {self.task.policy}" if self.task.policy else ""
        return f"{TASK_ENDED.name} {self.task.type} {self.task.outcome}{by}"

    def _detail(self) -> str:
        """CBR's code and why, and who began it where no call did."""
        code = f"{self.task.code}: " if self.task.code else ""
        by = f"Started by policy {self.task.policy}." if self.task.policy else ""
        return f"{code}{self.text} {by}".strip()
