"""The life of an operation as one table; every implementation follows it.

Each event has an answer in each state: the state that follows. One that leads to itself has no
effect, so that an event may be repeated, and may come late. A fact outlasts a guess: what CBR
carried out is committed whatever was believed before, and never anything else again; that something
may have happened says nothing against a decision that it did not.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from gateway.state.operation import OPEN, State


class Event(StrEnum):
    """What happens to an operation after it began."""

    SENT = "sent"
    COMMIT = "commit"
    RELEASE = "release"
    UNKNOWN = "unknown"
    EXPIRE = "expire"


def _row(moves: Mapping[State, State]) -> Mapping[State, State]:
    return {state: moves.get(state, state) for state in State}


TRANSITIONS: Final[Mapping[Event, Mapping[State, State]]] = {
    Event.SENT: _row({State.RESERVED: State.SENT}),
    Event.COMMIT: _row(dict.fromkeys((*OPEN, State.RELEASED, State.EXPIRED), State.COMMITTED)),
    Event.RELEASE: _row(dict.fromkeys(OPEN, State.RELEASED)),
    # From EXPIRED, too: it was sent, and a store that failed over may have forgotten so much.
    Event.UNKNOWN: _row(dict.fromkeys((State.RESERVED, State.SENT, State.EXPIRED), State.UNKNOWN)),
    Event.EXPIRE: _row({State.RESERVED: State.EXPIRED}),
}


def movement(source: State, target: State) -> tuple[int, int, int]:
    """By which multiples of a charge's amount committed, reserved and uncertain change."""
    return (
        (target is State.COMMITTED) - (source is State.COMMITTED),
        (target in OPEN) - (source in OPEN),
        (target is State.UNKNOWN) - (source is State.UNKNOWN),
    )
