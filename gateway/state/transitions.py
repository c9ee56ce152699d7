"""The life of an operation as one table; both implementations follow it.

A state that is missing in an event's row makes the event illegal; a state that leads to itself makes it a repetition without effect.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from gateway.state.store import OPEN, IllegalTransition, State


class Event(StrEnum):
    """What happens to an operation after it began."""

    SENT = "sent"
    COMMIT = "commit"
    RELEASE = "release"
    UNKNOWN = "unknown"
    SWEEP = "sweep"


TRANSITIONS: Final[Mapping[Event, Mapping[State, State]]] = {
    Event.SENT: {State.RESERVED: State.SENT, State.SENT: State.SENT, State.EXPIRED: State.EXPIRED, State.ABSENT: State.ABSENT},
    Event.COMMIT: {State.SENT: State.COMMITTED, State.UNKNOWN: State.COMMITTED, State.COMMITTED: State.COMMITTED},
    Event.RELEASE: {
        **dict.fromkeys(OPEN, State.RELEASED),
        State.RELEASED: State.RELEASED,
        State.EXPIRED: State.EXPIRED,
        State.ABSENT: State.ABSENT,
    },
    Event.UNKNOWN: {State.SENT: State.UNKNOWN, State.UNKNOWN: State.UNKNOWN},
    Event.SWEEP: {State.RESERVED: State.EXPIRED},
}


def next_state(op_id: str, state: State, event: Event) -> State:
    """Raises IllegalTransition."""
    target = TRANSITIONS[event].get(state)
    if target is None:
        raise IllegalTransition(op_id, state, event)
    return target


def movement(source: State, target: State) -> tuple[int, int, int]:
    """By which multiples of a charge's amount committed, reserved and uncertain change."""
    return (
        (target is State.COMMITTED) - (source is State.COMMITTED),
        (target in OPEN) - (source in OPEN),
        (target is State.UNKNOWN) - (source is State.UNKNOWN),
    )
