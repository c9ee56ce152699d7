"""`read_mask`: the fields of rows that a caller wants to see (AIP-157)."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.errors import field_invalid


def masked(mask: FieldMask, row: Descriptor) -> Callable[[Any], None] | None:
    """What takes all other fields away from a row; None for `*`.

    Raises FIELD_INVALID for a path that rows do not have.
    """
    if list(mask.paths) == ["*"]:
        return None
    for index, path in enumerate(mask.paths):
        _check(row, path.split("."), f"read_mask.paths[{index}]")
    if not mask.paths:
        raise field_invalid("read_mask", "names no field; leave it out, or name some", "read_mask")

    def clear(message: Any) -> None:  # noqa: ANN401 - any row
        kept = type(message)()
        mask.MergeMessage(message, kept)
        message.CopyFrom(kept)

    return clear


def _check(row: Descriptor, names: Sequence[str], where: str) -> None:
    here: Descriptor | None = row
    for depth, name in enumerate(names):
        if here is None or name not in here.fields_by_name:
            known = (
                f"Known: {', '.join(here.fields_by_name)}" if here is not None else "It has none"
            )
            raise field_invalid(where, f"there is no field `{name}`. {known}", "read_mask")
        field = here.fields_by_name[name]
        if field.is_repeated and depth < len(names) - 1:
            raise field_invalid(where, f"`{name}` is a list; name it as a whole", "read_mask")
        here = field.message_type
