"""The etags of objects: computed from what CBR shows of them, but for the fields that are declared
to be outside of it, in the object and one level below.

They are weak ones (RFC 9110): two objects with the same one may differ in those fields.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor

FIELD: Final = "etag"
_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is left out: fields of the message; and of the messages in it, with whether there may be
    several.
    """

    own: Sequence[str]
    inside: Sequence[tuple[str, bool, Sequence[str]]]


def tell(answer: Any) -> None:  # noqa: ANN401 - any message
    """Puts the etag into each object that an answer shows, where its message has one."""
    for name, many in objects(answer.DESCRIPTOR):
        if many or answer.HasField(name):
            rows = getattr(answer, name) if many else (getattr(answer, name),)
            for row, etag in zip(rows, etags_of(rows), strict=True):
                row.etag = etag


def etags_of(rows: Sequence[Any]) -> list[str]:
    """Of objects of one kind, as callers see them."""
    if not rows:
        return []
    found, plan = [], _plan(rows[0].DESCRIPTOR)
    for row in rows:
        bare = type(row)()
        bare.CopyFrom(row)
        for name in plan.own:
            bare.ClearField(name)
        for name, many, names in plan.inside:
            if many or bare.HasField(name):
                for each in getattr(bare, name) if many else (getattr(bare, name),):
                    for inner in names:
                        each.ClearField(inner)
        digest = hashlib.blake2b(bare.SerializeToString(deterministic=True), digest_size=_BYTES)
        found.append(f'W/"{digest.hexdigest()}"')
    return found


@cache
def objects(answer: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields of an answer that show objects with an etag, and whether it is a list of them."""
    return tuple(
        (fd.name, fd.is_repeated)
        for fd in answer.fields
        if fd.message_type is not None and FIELD in fd.message_type.fields_by_name
    )


@cache
def _plan(shown: Descriptor) -> _Plan:
    own = (*_outside(shown), FIELD)
    inside = [
        (fd.name, fd.is_repeated, names)
        for fd in shown.fields
        if fd.message_type is not None and fd.name not in own
        for names in [_outside(fd.message_type)]
        if names
    ]
    return _Plan(own, inside)


def _outside(message: Descriptor) -> tuple[str, ...]:
    return tuple(
        fd.name for fd in message.fields if fd.GetOptions().Extensions[options_pb2.outside_etag]
    )
