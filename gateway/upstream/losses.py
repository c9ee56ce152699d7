"""What a change destroys, or leaves without what worked on it, beside the object that it names; and
how much of that a caller is told: one that may not list what is lost learns that there is some.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from cbrgateway.v1 import types_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.upstream.look import Look

Request = TypeVar("Request", bound=Message)
Row = TypeVar("Row", bound=Message)

LISTED_WITH: Final[Mapping[str, str]] = {
    "backup": "cbr:backups:list",
    "vault": "cbr:vaults:list",
    "policy": "cbr:policies:list",
    "task": "cbr:tasks:list",
}
"""Kind of what changes are about -> the action that lets a caller list all of that kind."""


class Guard(StrEnum):
    """What keeps a change from it, as the configuration calls it (changes/guards.py)."""

    DELETE_VAULT = "delete_vault"
    REMOVE_VAULT_RESOURCES = "remove_vault_resources"
    DELETE_POLICY = "delete_policy"
    SHORTEN_RETENTION = "shorten_retention"


class Loss(msgspec.Struct, frozen=True, gc=False):
    """What is lost of one kind.

    `kind`: backup, vault or policy. `ids`: of the first of them. `newest_id` and `newest_at`: in
    seconds since 1970; empty and 0 where nothing tells when they were made. `unknown`: CBR could
    not be asked, or shows nothing that tells which go, so that `count` says nothing.
    """

    kind: str
    count: int = 0
    ids: tuple[str, ...] = ()
    newest_id: str = ""
    newest_at: float = 0.0
    unknown: bool = False

    def first(self, most: int) -> "Loss":
        """The same, with no more ids than that."""
        return msgspec.structs.replace(self, ids=self.ids[:most])


def withhold(losses: Iterable[types_pb2.Loss], hidden: Collection[str]) -> None:
    """Leaves of losses of kinds that are hidden from a caller only that there are some."""
    for each in losses:
        if each.kind in hidden and not each.unknown:
            each.CopyFrom(types_pb2.Loss(kind=each.kind, withheld=True))


def as_told(submission: types_pb2.Submission, hidden: Collection[str]) -> types_pb2.Submission:
    """A submission for a caller from whom kinds are hidden."""
    if not hidden or not submission.losses:
        return submission
    told = types_pb2.Submission()
    told.CopyFrom(submission)
    withhold(told.losses, hidden)
    return told


def amount(kind: str, count: int, *, unknown: bool = False, withheld: bool = False) -> str:
    """How much is lost of one kind, in words."""
    many = "policies" if kind == "policy" else f"{kind}s"
    if withheld:
        return many
    if unknown:
        return f"an unknown number of {many}"
    return f"{count} {kind if count == 1 else many}"


class Losing(msgspec.Struct, Generic[Request, Row], frozen=True, kw_only=True):
    """How to see what a change would destroy.

    `guard`: None where it can be put back, so that it is only told and recorded. `made`: when a row
    was made; None: nothing tells. `is_guess`: whether `lost` is only what may go.
    """

    kind: str
    lost: Callable[[Request, Look], Awaitable[Sequence[Row]]]
    guard: Guard | None = None
    made: Callable[[Row], Timestamp] | None = None
    is_guess: Callable[[Request, Look], Awaitable[bool]] | None = None


AnyLosing: TypeAlias = Losing[Any, Any]
