"""How asynchronous work moves: the only table that says which state follows which.

A piece of work runs from 0.0 to 1.0. What share of it is done comes from the pace (at once, per
read, by time); what clients see at that share comes from `STAGES`, and what the object it works on
shows comes from `OBJECT_STATES`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What makes work advance."""

    IMMEDIATE = "immediate"
    READS = "reads"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Pace:
    """`reads` counts for Mode.READS, `duration_s` (seconds of emulator time) for Mode.TIME."""

    mode: Mode = Mode.TIME
    reads: int = 3
    duration_s: float = 4.0


WAITING, RUNNING, SUCCESS, FAILED, TIMEOUT, SKIPPED = (
    "waiting",
    "running",
    "success",
    "failed",
    "timeout",
    "skipped",
)

FINAL = frozenset({SUCCESS, FAILED, TIMEOUT, SKIPPED})

STAGES = ((0.0, WAITING), (0.1, RUNNING))
"""Share of the work from which a status shows; at 1.0 the outcome decided at the start shows."""

OBJECT_STATES: dict[str, dict[str, str]] = {
    "backup": {
        WAITING: "waiting_protect",
        RUNNING: "protecting",
        SUCCESS: "available",
        FAILED: "error",
        TIMEOUT: "error",
    },
    "restore": {
        WAITING: "waiting_restore",
        RUNNING: "restoring",
        SUCCESS: "available",
        FAILED: "available",
        TIMEOUT: "available",
        SKIPPED: "available",
    },
    "delete": {
        WAITING: "waiting_delete",
        RUNNING: "deleting",
        FAILED: "available",
        TIMEOUT: "available",
        SKIPPED: "available",
    },
    "replication": {
        WAITING: "waiting_replicate",
        RUNNING: "replicating",
        SUCCESS: "success",
        FAILED: "fail",
        TIMEOUT: "fail",
        SKIPPED: "skip",
    },
}
"""Status of the backup (or replication record) while its task has the given status.

Source: status enums of the v3 API; that the waiting_* words belong to waiting tasks is read from
their names.
"""

ROUNDING = 1e-6


def stage(share: float) -> str | None:
    """Return the status at this share of the work, or None once it is complete."""
    if share + ROUNDING >= 1.0:
        return None
    return next(status for start, status in reversed(STAGES) if share + ROUNDING >= start)


def progress(share: float) -> int:
    """Return the percentage that unfinished work shows: 0 while waiting, never 100."""
    return 0 if stage(share) == WAITING else min(99, int(share * 100))
