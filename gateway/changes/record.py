"""What is kept with an operation, as bytes in the store: its trace from the beginning, and a note
about the work that it started.
"""

from typing import Any, Final

import msgspec
from cbrgateway.v1 import types_pb2
from google.protobuf.message import DecodeError, Message

from gateway.changes.correlation import (
    ALWAYS,
    CORRELATING,
    NOT_STARTED,
    OUTCOME_UNKNOWN,
    UNDECIDED,
    Claim,
)
from gateway.clock import moment
from gateway.state import OPEN, OperationView, State
from gateway.upstream.catalog import Catalog
from gateway.upstream.losses import Loss
from gateway.upstream.remote_clock import RemoteClock, Span
from gateway.upstream.task_search import Search

MAX_LOST_IDS: Final = 100
"""Of what a change destroys, which a submission and an answer hold."""


class OperationDetail(msgspec.Struct, frozen=True):
    """What must be known of an operation after a crash.

    `owner`: the process that began it; `request`: without its request_id; `marked`: whether what it
    creates carries its id; `accepted`: when it began, in seconds since 1970; `principal`: who
    called, as `tenant/caller`; `slots`: those that the work takes under limits of concurrency;
    `sent`: a moment before it was sent, by CBR's clock; None: that was not known; `namesakes`: ids
    of objects that were there before it was sent, at least those with the name of what it creates;
    None: nobody knows, or needs to; `beats`: whether its process says that it is there;
    `trace_id`: of the call's trace.
    """

    owner: str
    project: str
    request: bytes
    marked: bool
    accepted: float = 0.0
    principal: str = ""
    slots: tuple[str, ...] = msgspec.field(default=(), name="places")
    sent: Span | None = None
    namesakes: tuple[str, ...] | None = None
    beats: bool = False
    trace_id: str = ""

    @classmethod
    def of(cls, detail: bytes) -> "OperationDetail":
        return msgspec.msgpack.decode(detail, type=cls)


class Skipped(msgspec.Struct, frozen=True):
    """A resource that CBR left out, with its code and words for why."""

    id: str
    type: str
    name: str
    code: str
    reason: str


class Note(msgspec.Struct, frozen=True):
    """What is known of the work of a change that was carried out; or, as `why`, why nobody can tell
    whether it was.

    `found_at`: when its tasks were all known, as Span.earliest has it; 0: not yet. `over`: all have
    ended and the slots of the work are free; for work that takes slots only. `answered`: a moment
    after CBR's answer, by CBR's clock; 0: not known. `losses`: what it destroys beside its object;
    once it has ended, what it has destroyed.
    """

    state: int
    search: Search
    task_ids: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    upstream_request_id: str = ""
    found_at: float = 0.0
    over: bool = False
    why: str = ""
    answered: float = 0.0
    losses: tuple[Loss, ...] = ()

    @classmethod
    def of(cls, note: bytes) -> "Note | None":
        return msgspec.msgpack.decode(note, type=cls) if note else None

    @classmethod
    def undecided(cls, why: str, *, over: bool = False) -> "Note":
        """Of a change whose outcome stays open, since nothing that CBR shows proves it.

        `over`: it shows no work of it either.
        """
        return cls(UNDECIDED, Search(()), why=why, over=over)

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)


def request_of(op: OperationView, catalog: Catalog) -> Message:
    """What an operation was asked for, without its request_id."""
    return catalog[op.rpc].request_type.FromString(OperationDetail.of(op.detail).request)


def skipped_in(
    answer: Any,  # noqa: ANN401 - any message or value
) -> tuple[Skipped, ...]:
    if "checkpoint" not in answer.DESCRIPTOR.fields_by_name:
        return ()
    rows = answer.checkpoint.vault.skipped_resources
    return tuple(Skipped(row.id, row.type, row.name, row.code, row.reason) for row in rows)


def claim(
    op: OperationView, trace: OperationDetail, note: Note | None, search: Search, clock: RemoteClock
) -> Claim:
    note = note if op.state is State.COMMITTED else None
    sent = clock.of_today(trace.sent, trace.accepted)
    return Claim(
        id=op.id,
        search=note.search if note else search,
        began=sent.earliest if sent is not None else ALWAYS,
        open=op.state in OPEN,
        found_at=note.found_at if note else 0.0,
        task_ids=note.task_ids if note else (),
        agreed=sent.agreed if sent is not None else ALWAYS,
        sent=trace.sent.earliest if sent is not None and trace.sent is not None else ALWAYS,
    )


def shown(
    op_id: str, rpc: str, request_id: str, accepted: float, note: Note
) -> types_pb2.Submission:
    """A submission as callers see it."""
    return types_pb2.Submission(
        id=op_id,
        rpc=rpc,
        request_id=request_id,
        upstream_request_id=note.upstream_request_id,
        state=types_pb2.SubmissionState.ValueType(note.state),
        task_ids=note.task_ids,
        skipped_resources=[
            types_pb2.SkippedResource(**msgspec.structs.asdict(each)) for each in note.skipped
        ],
        accept_time=moment(accepted),
        state_reason=note.why,
        losses=[loss_shown(each) for each in note.losses],
    )


def loss_shown(loss: Loss) -> types_pb2.Loss:
    """What a change destroys, as callers see it."""
    return types_pb2.Loss(
        kind=loss.kind,
        count=loss.count,
        ids=loss.first(MAX_LOST_IDS).ids,
        newest_id=loss.newest_id,
        newest_time=moment(loss.newest_at) if loss.newest_at else None,
        unknown=loss.unknown,
    )


def submission(
    op: OperationView, trace: OperationDetail, note: Note | None
) -> types_pb2.Submission:
    """The submission of an operation as it stands in the store."""
    if op.state in OPEN:
        told = (
            Note.undecided(note.why)
            if note is not None and note.why
            else Note(OUTCOME_UNKNOWN, Search(()))
        )
    elif op.state is State.COMMITTED:
        told = note or Note(CORRELATING, Search(()))
    else:
        told = Note(NOT_STARTED, Search(()))
    return shown(op.id, op.rpc, op.request_id, trace.accepted, told)


NOT_UNDERSTOOD: Final = (DecodeError, msgspec.MsgspecError)
"""What reading the bytes of an operation raises that another version wrote, or that were spoilt."""


def undecided(op: OperationView) -> str:
    """Why nobody can tell what became of an operation; empty: it is known, or being found out."""
    try:
        note = Note.of(op.note) if op.state in OPEN else None
    except NOT_UNDERSTOOD:
        return "its record in the store is not understood"
    return note.why if note is not None else ""
