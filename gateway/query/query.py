"""A list as its caller wants it: what is asked of CBR, and what is left to do with the answer."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from gateway.errors import field_invalid
from gateway.query.grammar import parse
from gateway.query.mask import masked
from gateway.query.order import keys, ordered
from gateway.query.predicate import Keep, predicate
from gateway.query.pushed import pushed, sorted_by_cbr
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding
from gateway.upstream.wire import rows_field


class ListQuery(Struct, frozen=True):
    """`request`: for CBR. `keep` and `sort`: None where CBR does it, and the list is read by pages.

    `clear`: what takes the fields away from a row that were not asked for.
    """

    request: Message
    keep: Keep | None = None
    sort: Callable[[list[Any]], list[Any]] | None = None
    clear: Callable[[Any], None] | None = None

    def finished(self, response: Any) -> Any:  # noqa: ANN401 - any list response
        """What a caller gets who wants only some fields."""
        if self.clear is not None:
            for row in getattr(response, rows_field(response.DESCRIPTOR)):
                self.clear(row)
        return response


def queried(catalog: Catalog) -> frozenset[str]:
    """The lists of CBR that callers may filter, put in order, and choose fields of."""
    return frozenset(
        binding.rpc
        for binding in catalog
        if binding.path and "read_mask" in binding.descriptor.input_type.fields_by_name
    )


def query_of(binding: Binding, request: Any) -> ListQuery:  # noqa: ANN401 - any list request that can be queried
    """Raises FIELD_INVALID, which names the position of what is wrong."""
    rows = binding.descriptor.output_type.fields_by_name[rows_field(binding.descriptor.output_type)]
    row = rows.message_type
    assert row is not None
    asked: Any = type(request)()
    asked.CopyFrom(request)
    keep, sort, clear = None, None, None
    if request.filter.strip():
        tree = parse(request.filter)
        keep = predicate(tree, row)
        if pushed(tree, asked, row):
            keep = None
    if request.order_by.strip():
        by = keys(request.order_by, row)
        if getattr(request, "sort", ""):
            raise field_invalid("order_by", "is another way to say `sort`; give one", "order_by")
        # What is read whole for its filter is put in order here, too.
        if keep is not None or not sorted_by_cbr(by, asked):
            sort = ordered(by)
    if request.HasField("read_mask"):
        clear = masked(request.read_mask, row)
    return ListQuery(asked, keep, sort, clear)
