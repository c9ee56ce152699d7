"""Operations: charges and idempotency record move together.

begin -> sent -> commit | release | unknown
note                                             what is found out about an operation later
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.state.operation import Begun, Changes, Operation, OperationView, State


class OperationStore(Protocol):
    """Events of an operation have an answer in every state (`transitions.py`): where it stands
    then.

    ABSENT: nothing is known of it, as after a loss.
    """

    async def begin(self, op: Operation) -> Begun:
        """Reserves all charges and the request_id, or nothing.

        The same op.id again is Admitted without effect, whatever became of it: `sent` tells.

        The record of a request_id belongs to (tenant, rpc): another fingerprint is a Mismatch;
        COMMITTED gives Replay; open gives InProgress.
        """
        ...

    async def sent(self, op_id: str) -> bool:
        """Before the first byte goes upstream.

        False: it has ended or is in doubt, and the caller must not send. From here it never
        expires.
        """
        ...

    async def commit(
        self, op_id: str, response: bytes | None, resource_id: str = "", note: bytes = b""
    ) -> State:
        """It happened: the charges are committed, the answer can be replayed.

        `resource_id`: what it created; empty if it changed something.

        `note`: the first one, which a repetition does not set again; empty: none.
        """
        ...

    async def release(self, op_id: str) -> State:
        """Nothing happened upstream: charges are given back, and the request_id is free again."""
        ...

    async def unknown(self, op_id: str) -> State:
        """It may have happened: stays reserved until commit or release."""
        ...

    async def note(self, op_id: str, note: bytes, before: bytes) -> bool:
        """Replaces the note if it is still `before`.

        True when the note is now `note`; False when another one stands there, or nothing is known.
        """
        ...

    async def sweep(self, clocks: Sequence[float]) -> int:
        """Ends reservations whose ttl is over and forgets old settled operations; the number of
        reservations that were ended.

        `clocks`: what others than this machine's say now, in seconds since 1970. A store that goes
        by that one forgets nothing on its word alone.
        """
        ...

    async def get(self, op_id: str) -> OperationView | None:
        """Open, or settled and still kept; None for all others."""
        ...

    async def in_states(self, tenant: str | None, states: Collection[State]) -> list[OperationView]:
        """Oldest first.

        None: of all tenants. Settled ones are kept as long as answers can be replayed.
        """
        ...

    async def opened(self, after: str, most: int) -> list[OperationView]:
        """The open ones behind a position (OperationView.position; empty: all), oldest first.

        Fewer than `most` only if there are no more.
        """
        ...

    async def committed_within(self, seconds: float) -> list[OperationView]:
        """Those that were committed in the last `seconds`; oldest first."""
        ...

    async def on_topic(self, topic: str, since: float) -> list[OperationView]:
        """Those of one topic that began at or after `since`, in seconds since 1970; oldest first.

        Kept as long as `in_states` keeps them.
        """
        ...

    async def recent(self, topic: str, before: str, most: int) -> list[OperationView]:
        """Those of one topic before a position (empty: all), newest first.

        Fewer than `most` only if there are no more.
        """
        ...

    async def changes(self, topic: str, after: str) -> Changes:
        """What has changed on a topic, by whichever process, since a position: each operation that
        began, moved or got a note, as it is now.

        Empty, or a position from before the data were lost: all that is kept.
        """
        ...
