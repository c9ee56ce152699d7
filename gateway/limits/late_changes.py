"""What changes have done lately, which a list of CBR may not show yet."""

from collections.abc import Callable

from google.protobuf.message import Message
from msgspec import Struct

from gateway.limits.listing import Change, Recent
from gateway.state import OperationStore, OperationView
from gateway.upstream.catalog import Catalog
from gateway.upstream.traits import AnyTraits


class LateChanges(Struct, frozen=True):
    """`request_of`: what an operation was asked for; `settle_s`: how late a list may be."""

    operations: OperationStore
    catalog: Catalog
    request_of: Callable[[OperationView], Message]
    settle_s: float

    async def of(
        self, kind: Callable[[AnyTraits], Callable[[Message], Change] | None]
    ) -> list[Recent[Change]]:
        """The latest changes of one kind, in their order."""
        ops, known = (
            await self.operations.committed_within(self.settle_s),
            self.catalog.bindings,
        )
        return [
            Recent(op.id, change(self.request_of(op)))
            for op in ops
            if op.rpc in known and (change := kind(known[op.rpc].traits))
        ]

    async def gone(self) -> set[str]:
        """Objects that were deleted lately: a list that does not show them is not late."""
        known, found = self.catalog.bindings, set()
        for op in await self.operations.committed_within(self.settle_s):
            if op.rpc in known and (gone := known[op.rpc].traits.gone) is not None:
                found.add(gone.id_of(self.request_of(op)))
        return found
