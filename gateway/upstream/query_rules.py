"""Rules of what callers may ask of a list: `filter`, `order_by`, `read_mask`."""

from collections.abc import Iterator
from typing import Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor

from gateway.upstream.declaration import Declaration

_QUERY_FIELDS: Final = frozenset({"filter", "order_by", "read_mask"})
_COMPARED: Final = frozenset({"=", ":", "<=", ">="})


def queries(d: Declaration) -> Iterator[str]:
    """What callers may ask of a list, and what of it CBR can do."""
    request = d.request.fields_by_name
    asked = _QUERY_FIELDS.intersection(request)
    if d.verb and 0 < len(asked) < len(_QUERY_FIELDS):
        yield "has some of filter, order_by and read_mask; a list has all or none"
    for fd in request.values():
        comparison = fd.GetOptions().Extensions[options_pb2.filters]
        path, _, operator = comparison.partition(" ")
        if comparison and (operator not in _COMPARED or not _has_field(d.method.output_type, path)):
            yield f"field {fd.name} filters {comparison!r}, which is no comparison of its rows"


def _has_field(answer: Descriptor, path: str) -> bool:
    """Whether the rows of an answer have a field."""
    here: Descriptor | None = next(
        (f.message_type for f in answer.fields if f.is_repeated and f.message_type), None
    )
    for name in path.split("."):
        if here is None or name not in here.fields_by_name:
            return False
        here = here.fields_by_name[name].message_type
    return True
