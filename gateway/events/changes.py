"""Changes that were refused, those of which nobody knows, and what became of these, as events.

They are put into the queues soon after they have happened, so that no caller waits for it. A caller
that repeats what is refused again and again is told of now and then.
"""

import asyncio
from collections import deque
from typing import Final, Literal

import structlog
from msgspec import Struct, field

from gateway.changes.record import OperationDetail
from gateway.clock import Clock
from gateway.events.publisher import Publisher
from gateway.events.types import (
    ChangeDoubtful,
    ChangeRefused,
    ChangeSettled,
    DoubtfulData,
    Event,
    RefusedData,
    SettledData,
    moment,
)
from gateway.rpc.call import Call
from gateway.state import OperationStore, OperationView, StoreDown

_MOST: Final = 1000
"""What waits to be put; of more the newest are lost, and the log says so."""
_WINDOW_S: Final = 60.0
_IN_WINDOW: Final = 10
"""So many refusals of one kind are told in a window."""
_KINDS: Final = 1000
_PAUSE_S: Final = 1.0
_NOT_REFUSED: Final = frozenset({"OUTCOME_UNKNOWN", "REQUEST_IN_PROGRESS", "INTERNAL"})
"""Reasons after which the change may have been made, or may be under way."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Window(Struct):
    """Of one kind of refusal. `unlisted`: how many were not told since the last that was."""

    ends_at: float
    told: int = 0
    unlisted: int = 0


class _Settled(Struct, frozen=True):
    """What became of an operation that was in doubt, and when that was learnt."""

    op: OperationView
    carried_out: bool
    at: float


class ChangeEvents(Struct):
    """One per process. `source`: of the events."""

    publisher: Publisher
    operations: OperationStore
    source: str
    clock: Clock
    _due: deque[Event | str | _Settled] = field(default_factory=deque)
    """Events, ids of operations that are in doubt, and what was settled."""
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)
    _windows: dict[tuple[str, ...], _Window] = field(default_factory=dict)

    def failed(self, call: Call) -> None:
        """Hears of every call that ended with an error."""
        if call.binding.reads or call.validates:
            return
        if call.principal is None or call.reason in _NOT_REFUSED:
            return
        unlisted = self._unlisted(call)
        if unlisted is not None:
            self._add(self._refused(call, unlisted))

    def doubtful(self, op_id: str) -> None:
        """Hears of every change whose call has ended and of which nobody knows."""
        self._add(op_id)

    def settled(self, op: OperationView, *, carried_out: bool) -> None:
        """Hears what became of every change that was in doubt."""
        self._add(_Settled(op, carried_out, self.clock.time()))

    async def run(self) -> None:
        """Puts them until cancelled."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            while self._due:
                try:
                    await self._put(self._due[0])
                except StoreDown:
                    await self.clock.sleep(_PAUSE_S)
                    continue
                except Exception:
                    log.exception("an event of a change could not be made; the others go on")
                self._due.popleft()

    def _add(self, due: Event | str | _Settled) -> None:
        if len(self._due) >= _MOST:
            log.error("an event of a change is lost: too many wait for the store")
            return
        self._due.append(due)
        self._stirred.set()

    def _unlisted(self, call: Call) -> int | None:
        """How many like it were not told; None: nor is this one."""
        assert call.principal is not None
        kind = call.principal.tenant.id, call.principal.id, call.binding.rpc, call.reason
        now = self.clock.monotonic()
        window = self._windows.pop(kind, None) or _Window(now + _WINDOW_S)
        if now >= window.ends_at:
            window = _Window(now + _WINDOW_S, unlisted=window.unlisted)
        self._windows[kind] = window
        if len(self._windows) > _KINDS:
            del self._windows[next(iter(self._windows))]
        if window.told >= _IN_WINDOW:
            window.unlisted += 1
            return None
        window.told += 1
        unlisted, window.unlisted = window.unlisted, 0
        return unlisted

    def _refused(self, call: Call, unlisted: int) -> ChangeRefused:
        assert call.principal is not None
        return ChangeRefused(
            id=f"refused-{call.id}",
            source=self.source,
            subject=f"calls/{call.id}",
            time=moment(self.clock.time()),
            data=RefusedData(
                outcome="refused",
                call=call.id,
                operation=call.binding.rpc,
                status=call.outcome,
                reason=call.reason,
                tenant=call.principal.tenant.id,
                principal=call.principal.id,
                project=call.project.id if call.project is not None else "",
                code=call.upstream.code,
                unlisted=unlisted,
            ),
        )

    async def _put(self, due: Event | str | _Settled) -> None:
        match due:
            case str():
                event: Event | None = await self._doubtful(due)
            case _Settled():
                event = self._settled(due)
            case _:
                event = due
        if event is not None:
            await self.publisher.put(event)

    async def _doubtful(self, op_id: str) -> ChangeDoubtful | None:
        op = await self.operations.get(op_id)
        if op is None:
            return None
        begun = OperationDetail.of(op.detail).accepted
        return ChangeDoubtful(
            id=f"doubtful-{op.id}",
            source=self.source,
            subject=f"calls/{op.id}",
            time=moment(begun or self.clock.time()),
            data=DoubtfulData(outcome="unknown", **_of(op)),
        )

    def _settled(self, due: _Settled) -> ChangeSettled:
        outcome: Literal["carried_out", "not_carried_out"] = (
            "carried_out" if due.carried_out else "not_carried_out"
        )
        return ChangeSettled(
            id=f"settled-{due.op.id}",
            source=self.source,
            subject=f"calls/{due.op.id}",
            time=moment(due.at),
            data=SettledData(outcome=outcome, **_of(due.op)),
        )


def _of(op: OperationView) -> dict[str, str]:
    """Which change it is, and whose."""
    detail = OperationDetail.of(op.detail)
    return {
        "call": op.id,
        "operation": op.rpc,
        "tenant": op.tenant,
        "principal": detail.principal.rpartition("/")[2],
        "project": detail.project.partition("/")[0],
        "request_id": op.request_id,
    }
