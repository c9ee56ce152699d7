"""What must survive a crash or be shared by replicas: one protocol, the values it takes and gives,
and its one exception.

    begin -> sent -> commit | release | unknown      an operation: its charges and its idempotency
        record move together
    note                                             what is found out about an operation later
    take                                             rates
    lease, renew, free                               concurrency
    put_override, delete_override                    limits changed while running
    put_anchor                                       where the audit logs stand
    beat                                             which processes are there
    publish, heard                                   what one process has read for all

The store knows no tenant's rules: keys are opaque words, amounts whole numbers from 0 to 2^53 - 1.
what exists is CBR's to know; the store holds what is in flight, and `recount` puts it right. Every
call may be repeated after a failure without a second effect.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

MAX_AMOUNT = 2**53 - 1
MAX_RESPONSE_BYTES = 16 * 1024


class StoreDown(Exception):  # noqa: N818 - a state of the store, named as its users speak of it
    """The store did not answer in time, or it was emptied since `epoch` was last called.

    Whether the call had its effect is unknown; repeat it.
    """


class WrongStore(StoreDown):
    """The store is not one that the gateway can work with, and waiting does not make it one.

    Told at the start only.
    """


class State(StrEnum):
    """Where an operation is. The first three are open: their charges count as reserved."""

    RESERVED = "RESERVED"
    SENT = "SENT"
    UNKNOWN = "UNKNOWN"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    ABSENT = "ABSENT"


OPEN = frozenset({State.RESERVED, State.SENT, State.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Charge:
    """Asks for `amount` on the counter `key`: refused when committed + reserved + amount would be
    above `limit` (None: count only).

    `shadow`: never refuses, only reports. `expires_at`: seconds since 1970 at which the whole
    counter is forgotten, for volume per day.
    """

    key: str
    amount: int
    limit: int | None
    shadow: bool = False
    expires_at: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.amount <= MAX_AMOUNT:
            raise ValueError(
                f"the amount of a charge must be from 0 to {MAX_AMOUNT}: {self.amount}"
            )


@dataclass(frozen=True, slots=True)
class Operation:
    """One mutation.

    `ttl_s`: life of the reservation unless `sent` follows; `detail`: opaque bytes for recovery;
    `request_id`: empty for none.

    `topic`: a word under which `on_topic` lists it; empty: it is listed by its state only.
    """

    id: str
    tenant: str
    rpc: str
    request_id: str
    fingerprint: bytes
    charges: tuple[Charge, ...]
    ttl_s: float
    detail: bytes = b""
    topic: str = ""

    def __post_init__(self) -> None:
        if len({charge.key for charge in self.charges}) < len(self.charges):
            raise ValueError("two charges of one operation have the same key")


@dataclass(frozen=True, slots=True)
class Shortage:
    """A limit that did not allow what was asked.

    `used`: committed; `reserved`: held by open operations. For a lease: `used` are the holders.
    """

    key: str
    limit: int
    used: int
    reserved: int
    asked: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """The charges are reserved.

    `would_refuse`: shadow limits that were exceeded; a repeated `begin` does not report them again.
    """

    would_refuse: tuple[Shortage, ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """The same request was carried out before.

    `response` is None when it was not kept (none given, or above 16 KiB).
    """

    response: bytes | None


@dataclass(frozen=True, slots=True)
class InProgress:
    """The same request is on its way, or its outcome is not known yet."""

    op_id: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The request_id was used for another request."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was stored. `shortages`: every limit that was violated."""

    shortages: tuple[Shortage, ...]


Begun: TypeAlias = Admitted | Replay | InProgress | Mismatch | Refused


@dataclass(frozen=True, slots=True)
class Usage:
    """A counter.

    `reserved` includes `uncertain`, the share of UNKNOWN operations; `counted_at`: time of the last
    recount, None before the first.
    """

    committed: int = 0
    reserved: int = 0
    uncertain: int = 0
    counted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """A counter that adds up others, which every operation charges beside it.

    `assumed` stands in for each of them that was never counted.
    """

    parts: tuple[str, ...]
    assumed: int = 0


NO_TOTALS: Final[Mapping[str, Total]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OperationView:
    """What is stored of an operation: (key, amount) of its charges; `created_at` in seconds since
    1970; `note`: empty until there is one.
    """

    id: str
    tenant: str
    rpc: str
    request_id: str
    state: State
    charges: tuple[tuple[str, int], ...]
    detail: bytes
    resource_id: str
    created_at: float
    note: bytes

    @property
    def position(self) -> str:
        """Its place among others by when it began."""
        return f"{self.created_at!r} {self.id}"


def place_of(position: str, otherwise: float) -> tuple[float, str]:
    """The moment and id of a position; for an empty one that moment."""
    moment, _, op_id = position.partition(" ")
    return float(moment or otherwise), op_id


@dataclass(frozen=True, slots=True)
class Bucket:
    """`rate_per_s` (above 0) on average, `burst` at once. A `cost` above `burst` is never allowed.

    `whole_burst`: of the limit of which this is a share, whose burst depends on the cost; None: it
    is no share.
    """

    key: str
    rate_per_s: float
    burst: float
    cost: float = 1
    shadow: bool = False
    whole_burst: float | None = None

    @property
    def deepest(self) -> float:
        """What can be owed at most."""
        return self.burst if self.whole_burst is None else self.whole_burst


@dataclass(frozen=True, slots=True)
class Taken:
    """`remaining` calls and `reset_s` until full: of the tightest bucket.

    `retry_after_s`: 0 when allowed, infinite when never allowed.

    `violated`: keys that refused; `would_refuse`: shadow keys that would have.
    """

    allowed: bool
    remaining: int
    reset_s: float
    retry_after_s: float
    violated: tuple[str, ...] = ()
    would_refuse: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """One of `limit` places under `key`."""

    key: str
    limit: int
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Leased:
    """The holder has all the places until their ttl ends or `free`."""

    would_refuse: tuple[Shortage, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that was published.

    `position`: what to ask from next; `ago_s`: how long ago it was published, at most.
    """

    channel: str
    position: str
    ago_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """Operations that began or changed, in that order. `position`: what to ask from next."""

    operations: Sequence[OperationView]
    position: str


class Store(Protocol):
    """Every method may raise StoreDown, within the timeout of the settings; rates and leases fall
    back on a local share instead.

    Events of an operation have an answer in every state (`transitions.py`): where it stands then.
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
        """Nothing happened upstream: charges are given back and the request_id may be used
        again.
        """
        ...

    async def unknown(self, op_id: str) -> State:
        """It may have happened: stays reserved until commit or release."""
        ...

    async def note(self, op_id: str, note: bytes, before: bytes) -> bool:
        """Replaces the note if it is still `before`.

        True when the note is now `note`; False when another one stands there, or nothing is known.
        """
        ...

    async def sweep(self) -> int:
        """Ends reservations whose ttl is over and forgets old settled operations; the number of
        reservations that were ended.
        """
        ...

    async def adjust(
        self, key: str, delta: int, resource_id: str, since: int | None = None
    ) -> None:
        """Adds `delta` to what is committed, once for each (resource_id, key), never below 0: that
        object is gone, and no recount waits to see it.

        `since`: a `fence` taken before a delete was sent. A recount that began later may have
        missed the object already, so that a negative delta is dropped then: too high until the next
        recount rather than too low.
        """
        ...

    async def fence(self) -> int:
        """A number greater than all before it, to take before a listing begins."""
        ...

    async def recount(
        self,
        counts: Mapping[str, int],
        fence: int,
        seen_ids: Collection[str],
        settle_s: float = 0.0,
        sums: Mapping[str, Total] = NO_TOTALS,
    ) -> None:
        """Sets what is committed to what a listing that began after `fence` showed; then sets each
        counter of `sums` to its total.

        Operations committed since then, or within the last `settle_s`, are added unless `seen_ids`
        has their resource_id or their own id, or `adjust` was told that the object is gone. Dropped
        for a key that a later listing has set.
        """
        ...

    async def usage(self, keys: Sequence[str]) -> Mapping[str, Usage]:
        """One entry for each key, also for unknown ones."""
        ...

    async def operations(
        self, tenant: str | None, states: Collection[State]
    ) -> list[OperationView]:
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

    async def operation(self, op_id: str) -> OperationView | None:
        """Open, or settled and still kept; None for all others."""
        ...

    async def on_topic(self, topic: str, since: float) -> list[OperationView]:
        """Those of one topic that began at or after `since`, in seconds since 1970; oldest first.

        Kept as long as `operations` keeps them.
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

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """Takes from all buckets or none."""
        ...

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        """A place under every key or none. A holder that has a place keeps it, with the new ttl."""
        ...

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        """Prolongs the leases that are still held. False: at least one had expired."""
        ...

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        """Gives the places back."""
        ...

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:
        """Says that a process is there for `ttl_s` more.

        Whether the store knew that without a break, and all processes that are there.
        """
        ...

    async def publish(self, channel: str, payload: bytes) -> None:
        """Lets the processes that share the store hear of it.

        Only the last few of a channel are kept, for a minute: it may be lost.
        """
        ...

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:
        """What was published on each channel after a position, in its order; the position before
        all others is `0`. Waits a moment for it.

        A store that is one process's alone has nothing to tell, and then this never returns.
        """
        ...

    async def put_override(self, key: str, value: bytes) -> None: ...

    async def delete_override(self, key: str) -> None: ...

    async def overrides(self) -> Mapping[str, bytes]: ...

    async def overrides_version(self) -> int:
        """Grows with every change of an override."""
        ...

    async def put_anchor(self, writer: str, anchor: bytes) -> None:
        """Remembers the last anchor of one audit log, whatever becomes of the log itself."""
        ...

    async def anchors(self) -> Mapping[str, bytes]:
        """The last anchor of each writer."""
        ...

    async def ping(self) -> None: ...

    async def time(self) -> float | None:
        """What the store's own clock says, in seconds since 1970; None where it has no other one
        than this machine.
        """
        ...

    async def epoch(self) -> str:
        """Names this life of the data.

        Another value than before: what was stored may be lost, so recount before anything may grow.

        After the data were lost, `begin` raises StoreDown until this was called, so that nobody
        reserves on empty counters unawares.
        """
        ...

    async def age_s(self) -> float:
        """For how long, at least, these data have been kept since the store was empty; infinite for
        one that only this process could have emptied.
        """
        ...
