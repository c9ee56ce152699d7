"""Faults on order: which request suffers what.

A fault matches requests by operation, method, path template, project and object (all given parts
must match), skips the first `nth - 1` matches, strikes `times` times (null: for ever), each time
with `probability`. Several faults may strike one request: delays add up, of the others the first
that was added wins. The JSON form is described in README.md.
"""

import asyncio
import contextlib
import difflib
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from emulator import fields
from emulator.errors import ApiError
from emulator.fields import JsonObject, Need
from emulator.tasks import Outcome

RUN_POLICY = "RunPolicy"
"""Operation name under which faults can strike a policy run."""

BEFORE, AFTER = "before_commit", "after_commit"

TASK_STATUS = {"task_skipped": "skipped", "task_failed": "failed", "task_timeout": "timeout"}

KINDS = (
    "delay",
    "status",
    "cut",
    "truncate",
    "garbage",
    "raw",
    "redirect",
    "drip",
    "list_lag",
    *TASK_STATUS,
)

_FAULT = fields.record(
    kind=Need(fields.word(*KINDS)),
    match=fields.record(
        operation=fields.text(1),
        method=fields.text(1),
        path=fields.text(1),
        project_id=fields.text(1),
        object=fields.text(1),
    ),
    nth=fields.integer(1),
    times=fields.nullable(fields.integer(1)),
    probability=fields.number(0, 1),
    when=fields.word(BEFORE, AFTER),
    seconds=fields.number(0, 86400),
    status=fields.integer(200, 599),
    headers=fields.mapping,
    body=fields.anything,
    location=fields.text(1),
    chunk_bytes=fields.integer(1),
    code=fields.text(),
    message=fields.text(),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One order. Which of the later fields count depends on `kind`."""

    id: str
    kind: str
    operation: str | None
    method: str | None
    path: str | None
    project_id: str | None
    object: str | None
    nth: int
    times: int | None
    probability: float
    when: str
    seconds: float
    status: int
    headers: dict[str, str]
    body: Any
    location: str
    chunk_bytes: int
    code: str
    message: str
    released: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)

    async def wait(self) -> None:
        """Wait as long as it says, and no longer than until it is released."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.released.wait(), self.seconds)

    def matches(
        self,
        operation: str | None,
        method: str,
        path: str | None,
        project_id: str | None,
        objects: Collection[str],
    ) -> bool:
        """Return whether a request is of the kind this fault waits for.

        `objects`: the ids in its path.
        """
        return (
            self.operation in {None, operation}
            and self.method in {None, method}
            and self.path in {None, path}
            and self.project_id in {None, project_id}
            and (self.object is None or self.object in objects)
        )


@dataclass(slots=True)
class _Pending:
    fault: Fault
    seen: int = 0
    struck: int = 0


class FaultPlan:
    """The faults on order, in the order they were added."""

    def __init__(self, seed: int, operations: Iterable[str]) -> None:
        self._operations = frozenset({*operations, RUN_POLICY})
        self._random = random.Random(f"faults {seed}")  # noqa: S311 - repeatable, not secret
        self._pending: list[_Pending] = []
        self._added = 0

    def add(self, order: object) -> Fault:
        """Add a fault from its JSON form; ValueError says what is wrong with it."""
        try:
            checked: JsonObject = _FAULT(order, "")
        except ApiError as error:
            raise ValueError(error.text) from error
        match = checked.get("match", {})
        self._know(match.get("operation"))
        self._added += 1
        fault = Fault(
            id=f"fault-{self._added}",
            kind=checked["kind"],
            operation=match.get("operation"),
            method=match.get("method"),
            path=match.get("path"),
            project_id=match.get("project_id"),
            object=match.get("object"),
            nth=checked.get("nth", 1),
            times=checked.get("times", 1),
            probability=checked.get("probability", 1.0),
            when=checked.get("when", BEFORE),
            seconds=checked.get("seconds", 1.0),
            status=checked.get("status", 503),
            headers={str(name): str(value) for name, value in checked.get("headers", {}).items()},
            body=checked.get("body"),
            location=checked.get("location", "http://127.0.0.1:9/elsewhere"),
            chunk_bytes=checked.get("chunk_bytes", 16),
            code=checked.get("code", "BackupService.9910"),
            message=checked.get("message", "The task did not succeed."),
        )
        self._pending.append(_Pending(fault))
        return fault

    def _know(self, operation: str | None) -> None:
        """Refuse a name that no request has: its fault would never strike, and its test pass."""
        if operation is None or operation in self._operations:
            return
        near = difflib.get_close_matches(operation, self._operations, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else "it is the vendor's name, such as CreateVault"
        )
        raise ValueError(f"match.operation {operation} is not an operation; {hint}")

    def take(
        self,
        operation: str | None,
        method: str,
        path: str | None,
        project_id: str | None,
        objects: Collection[str] = (),
    ) -> list[Fault]:
        """Return the faults that strike this request and count them as used."""
        if not self._pending:
            return []
        striking = []
        for pending in self._pending:
            if not pending.fault.matches(
                operation, method, path, project_id, objects
            ) or self._spent(pending):
                continue
            pending.seen += 1
            if (
                pending.seen < pending.fault.nth
                or self._random.random() >= pending.fault.probability
            ):
                continue
            pending.struck += 1
            striking.append(pending.fault)
        return striking

    @staticmethod
    def _spent(pending: _Pending) -> bool:
        return pending.fault.times is not None and pending.struck >= pending.fault.times

    def view(self) -> list[JsonObject]:
        """Return every fault with how often it matched and struck."""
        return [
            {
                "id": pending.fault.id,
                "kind": pending.fault.kind,
                "match": {
                    "operation": pending.fault.operation,
                    "method": pending.fault.method,
                    "path": pending.fault.path,
                    "project_id": pending.fault.project_id,
                    "object": pending.fault.object,
                },
                "nth": pending.fault.nth,
                "times": pending.fault.times,
                "probability": pending.fault.probability,
                "seen": pending.seen,
                "struck": pending.struck,
            }
            for pending in self._pending
        ]

    def remove(self, fault_id: str | None = None) -> int:
        """Remove one fault, or all of them; return how many went."""
        before = len(self._pending)
        self._pending = [
            each for each in self._pending if fault_id is not None and each.fault.id != fault_id
        ]
        return before - len(self._pending)

    def release(self, fault_id: str) -> None:
        """Let the requests that a delay holds go on at once."""
        for each in self._pending:
            if each.fault.id == fault_id:
                each.fault.released.set()


def task_outcome(striking: list[Fault]) -> Outcome | None:
    """Return how tasks started under these faults must end; None: well."""
    for fault in striking:
        if fault.kind in TASK_STATUS:
            return Outcome(TASK_STATUS[fault.kind], fault.code, fault.message)
    return None
