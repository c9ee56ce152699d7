"""What changes have done lately, which a list of CBR may not show yet.

Every look reads what was committed since the one before, so that a change is read and parsed about
once, however many there are and however often is looked.
"""

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any, Final

import structlog
from google.protobuf.message import Message
from msgspec import Struct, field

from gateway.clock import Clock
from gateway.limits.listing import Recent
from gateway.state import OperationStore, OperationView
from gateway.upstream.amounts import Resize, Sharing
from gateway.upstream.catalog import Catalog

_OVERLAP_S: Final = 1.0
"""Read again at each look, since the store's clock is not ours. Of a change that is missed all the
same too much is counted for a while, never too little.
"""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Late(Struct, frozen=True):
    """What one change has done. `gone`: the object that it deleted, or empty."""

    seen_at: float
    resize: Resize | None
    sharing: Sharing | None
    gone: str


class LateChanges(Struct):
    """`request_of`: what an operation was asked for; `settle_s`: how late a list may be."""

    operations: OperationStore
    catalog: Catalog
    request_of: Callable[[OperationView], Message]
    settle_s: float
    clock: Clock
    _late: dict[str, _Late] = field(default_factory=dict)
    """By operation, in the order of their ends; each a little longer than `settle_s`."""
    _sharings: dict[str, dict[str, Recent[Sharing]]] = field(default_factory=dict)
    """Those among them by backup."""
    _looked_at: float = -math.inf
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def resizes(self) -> list[Recent[Resize]]:
        """In their order. Raises StoreDown."""
        await self._look()
        return [
            Recent(op_id, late.resize)
            for op_id, late in self._late.items()
            if late.resize is not None
        ]

    async def sharings(self, backup_id: str) -> list[Recent[Sharing]]:
        """Of one backup, in their order. Raises StoreDown."""
        await self._look()
        return [*self._sharings.get(backup_id, {}).values()]

    async def gone(self) -> set[str]:
        """Objects that were deleted lately: a list that does not show them is not late.

        Raises StoreDown.
        """
        await self._look()
        return {late.gone for late in self._late.values() if late.gone}

    async def _look(self) -> None:
        async with self._turn:
            now = self.clock.monotonic()
            since_s = min(self.settle_s, now - self._looked_at + _OVERLAP_S)
            for op in await self.operations.committed_within(since_s):
                if op.id not in self._late and (late := self._parsed(op, now)) is not None:
                    self._add(op.id, late)
            self._looked_at = now
            self._forget(now - self.settle_s - _OVERLAP_S)

    def _add(self, op_id: str, late: _Late) -> None:
        self._late[op_id] = late
        if late.sharing is not None:
            of_backup = self._sharings.setdefault(late.sharing.backup_id, {})
            of_backup[op_id] = Recent(op_id, late.sharing)

    def _forget(self, before: float) -> None:
        over = itertools.takewhile(lambda item: item[1].seen_at < before, self._late.items())
        for op_id, late in [*over]:
            del self._late[op_id]
            if late.sharing is not None:
                of_backup = self._sharings[late.sharing.backup_id]
                del of_backup[op_id]
                if not of_backup:
                    del self._sharings[late.sharing.backup_id]

    def _parsed(self, op: OperationView, now: float) -> _Late | None:
        """None for one that changes nothing that is counted."""
        if op.rpc not in self.catalog.bindings:
            return None
        traits = self.catalog.bindings[op.rpc].traits
        if traits.resize is None and traits.shares is None and traits.gone is None:
            return None
        try:
            request: Any = self.request_of(op)
            return _Late(
                now,
                traits.resize(request) if traits.resize else None,
                traits.shares(request) if traits.shares else None,
                traits.gone.id_of(request) if traits.gone else "",
            )
        except Exception as error:  # noqa: BLE001 - whatever is in it
            log.error(  # noqa: TRY400 - says it all
                "a change in the store is not understood, and counts beside what CBR lists",
                op=op.id,
                operation=op.rpc,
                error=repr(error),
            )
            return None
