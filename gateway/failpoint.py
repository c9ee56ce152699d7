"""Named places at which a test can hurt the process: `CBR_GATEWAY_FAILPOINT=after_begin=kill`, or
several with commas between.

    kill    ends the process at once, as `kill -9` does
    sleep   blocks the thread for a second, as a disk or a machine in trouble does
    raise   fails here, as a mistake in the code would

Without the variable nothing happens at any of them. The configuration is not valid while the
variable names a place or an action that does not exist.
"""

import os
import signal
import time
from typing import Final, Literal, get_args

VARIABLE: Final = "CBR_GATEWAY_FAILPOINT"

Name = Literal[
    # A change on its way in: places, reservation, record.
    "after_slots",
    "before_begin",
    "after_begin",
    "before_sent",
    "after_sent",
    # The call to CBR.
    "before_first_byte",
    "after_answer",
    "answer_lost",
    "before_repeat",
    "before_read_back",
    # Its end, and the end of its record.
    "before_told",
    "before_commit",
    "after_commit",
    "before_release",
    "after_release",
    "before_unknown",
    "after_unknown",
    "end_owed",
    "after_told",
    "before_slots_free",
    # What a later life or moment puts right.
    "before_pay",
    "after_pay",
    "after_sweep",
    "reservation_left",
    "orphan_found",
    "before_probe",
    "after_probe",
    "after_settled",
    "object_gone",
    "given_back",
    "after_fence",
    "after_listing",
    "after_recount",
    "after_override",
    # Inside a transaction of the embedded store, before it is on the disk.
    "in_begin",
    "in_sent",
    "in_commit",
    "in_release",
    "in_unknown",
    "in_adjust",
    "in_recount",
    # The audit log: a change's intent, its end, and in the thread that writes them.
    "after_intent",
    "before_outcome",
    "audit_written",
    # An event on its way to a sink.
    "before_event",
    "after_event",
]
NAMES: Final[tuple[str, ...]] = get_args(Name)
ACTIONS: Final = ("kill", "sleep", "raise")
_SLEEP_S: Final = 1.0


def _orders(text: str) -> dict[str, str]:
    """Name -> action."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name: action for name, _, action in pairs}


_ORDERS: Final = _orders(os.environ.get(VARIABLE, ""))


def problem(text: str) -> str:
    """What is wrong with a value of the variable; empty for nothing."""
    for name, action in _orders(text).items():
        if name not in NAMES:
            return f"names no failpoint: {name}. There are: {', '.join(NAMES)}"
        if action not in ACTIONS:
            return f"has no action for {name} that exists. There are: {', '.join(ACTIONS)}"
    return ""


def reach(name: Name) -> None:
    """Does what the variable orders for this place."""
    if not _ORDERS:
        return
    match _ORDERS.get(name):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(_SLEEP_S)
        case "raise":
            raise RuntimeError(f"the failpoint {name} was reached")
