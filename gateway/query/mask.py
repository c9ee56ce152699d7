"""`read_mask`: the fields of rows that a caller wants to see (AIP-157)."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.errors import field_invalid
from gateway.query.fields import child


def masked(mask: FieldMask, row: Descriptor) -> Callable[[Any], None] | None:
    """What takes all other fields away from a row; None for `*`.

    Raises FIELD_INVALID for a path that rows do not have.
    """
    if list(mask.paths) == ["*"]:
        return None
    if not mask.paths:
        raise field_invalid("read_mask", "names no field; leave it out, or name some", "read_mask")
    wanted = FieldMask(
        paths=[
            _path(row, path.split("."), f"read_mask.paths[{index}]")
            for index, path in enumerate(mask.paths)
        ]
    )

    def clear(message: Any) -> None:  # noqa: ANN401 - any row
        kept = type(message)()
        wanted.MergeMessage(message, kept)
        message.CopyFrom(kept)

    return clear


def _path(row: Descriptor, names: Sequence[str], where: str) -> str:
    """The path, as the protos name it."""
    here: Descriptor | None = row
    known: list[str] = []
    for depth, name in enumerate(names):
        field = child(here, name) if here is not None else None
        if field is None:
            there = (
                f"Known: {', '.join(here.fields_by_name)}" if here is not None else "It has none"
            )
            text = f"{'.'.join(names)}: there is no field `{name}`. {there}"
            raise field_invalid(where, text, "read_mask")
        if field.is_repeated and depth < len(names) - 1:
            text = f"{'.'.join(names)}: `{name}` is a list; name it as a whole"
            raise field_invalid(where, text, "read_mask")
        known.append(field.name)
        here = field.message_type
    return ".".join(known)
