"""Operations in a Valkey: every transition is one Lua script, atomic, by the server's clock."""

import functools
import json
import math
import operator
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import structlog

from gateway.state.counters import Refused
from gateway.state.errors import StoreDown
from gateway.state.operation import (
    MAX_RESPONSE_BYTES,
    OPEN,
    Admitted,
    Begun,
    Changes,
    InProgress,
    Mismatch,
    Operation,
    OperationView,
    Replay,
    State,
    place_of,
)
from gateway.state.transitions import TRANSITIONS, Event
from gateway.state.valkey_link import ValkeyLink
from gateway.state.valkey_wire import VIEW_FIELDS, charges_json, shortages, view

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_SWEEP_BATCH: Final = 200
_READ_BATCH: Final = 200


class ValkeyOperations:
    """An OperationStore. `keep_ms`: for how long answers can be replayed."""

    def __init__(self, link: ValkeyLink, keep_ms: int) -> None:
        self._link = link
        self._keep_ms = keep_ms

    async def begin(self, op: Operation) -> Begun:
        request = (op.id, op.tenant, op.rpc, op.request_id, op.fingerprint)
        ledger_name = json.dumps([op.tenant, op.rpc, op.request_id])
        kept = (charges_json(op.charges), op.ttl_s, op.detail, ledger_name, self._keep_ms, op.topic)
        kind, *rest = await self._link.run("begin", self._link.epoch, *request, *kept)
        match kind:
            case b"admitted":
                return Admitted(shortages(op.charges, rest[0]) if rest else ())
            case b"refused":
                return Refused(shortages(op.charges, rest[0]))
            case b"replay":
                return Replay(rest[0])
            case b"in_progress":
                return InProgress(rest[0].decode())
            case b"mismatch":
                return Mismatch()
        raise StoreDown(
            "the data of the store are not those that were known: call epoch, and recount"
        )

    async def sent(self, op_id: str) -> bool:
        return await self._settle(op_id, Event.SENT) is State.SENT

    async def commit(
        self, op_id: str, response: bytes | None, resource_id: str = "", note: bytes = b""
    ) -> State:
        kept = (response,) if response is not None and len(response) <= MAX_RESPONSE_BYTES else ()
        return await self._settle(op_id, Event.COMMIT, resource_id, note, *kept)

    async def release(self, op_id: str) -> State:
        return await self._settle(op_id, Event.RELEASE)

    async def unknown(self, op_id: str) -> State:
        return await self._settle(op_id, Event.UNKNOWN)

    async def note(self, op_id: str, note: bytes, before: bytes) -> bool:
        return bool(await self._link.run("note", op_id, note, before))

    async def _settle(self, op_id: str, event: Event, *outcome: str | bytes) -> State:
        # Once CBR is told of it, a failover must not forget it.
        run = self._link.run_copied if event is Event.SENT else self._link.run
        state: bytes = await run(
            "settle", op_id, json.dumps(TRANSITIONS[event]), self._keep_ms, *outcome
        )
        try:
            return State(state.decode())
        except ValueError:
            raise StoreDown(
                f"operation {op_id} is in a state that this version does not know"
            ) from None

    async def sweep(self, clocks: Sequence[float]) -> int:  # noqa: ARG002 - the server's own counts
        ended = 0
        while True:
            expired, dropped = await self._link.run("sweep", _SWEEP_BATCH, self._keep_ms)
            ended += int(expired)
            if max(expired, dropped) < _SWEEP_BATCH:
                return ended

    async def get(self, op_id: str) -> OperationView | None:
        return next(iter(await self._views([op_id.encode()])), None)

    async def in_states(self, tenant: str | None, states: Collection[State]) -> list[OperationView]:
        ids: list[bytes] = []
        for name, members in (("open", OPEN), ("settled", set(State) - OPEN)):
            if members & set(states):
                ids += await self._link.ask(
                    functools.partial(self._link.client.zrange, self._link.at(name), 0, -1)
                )
        # By id: one that was settled between two reads is in both lists.
        found = {
            view.id: view
            for view in await self._views(ids)
            if view.state in states and tenant in {None, view.tenant}
        }
        return sorted(found.values(), key=lambda view: view.created_at)

    async def opened(self, after: str, most: int) -> list[OperationView]:
        moment, op_id = place_of(after, -math.inf)
        later = functools.partial(operator.lt, (moment, op_id))
        return await self._part(
            functools.partial(
                self._link.client.zrangebyscore, self._link.at("open"), moment, "+inf"
            ),
            later,
            most,
            # One may have been settled since the index was read.
            lambda found: found.state in OPEN,
        )

    async def committed_within(self, seconds: float) -> list[OperationView]:
        now, _ = await self._link.ask(self._link.client.time)
        # Of the server's time only the whole seconds: rather one more than one less.
        ids = await self._link.ask(
            functools.partial(
                self._link.client.zrangebyscore, self._link.at("settled"), now - seconds, "+inf"
            )
        )
        return [view for view in await self._views(ids) if view.state is State.COMMITTED]

    async def on_topic(self, topic: str, since: float) -> list[OperationView]:
        return await self._views(
            await self._link.ask(
                functools.partial(
                    self._link.client.zrangebyscore, self._link.at(f"topic:{topic}"), since, "+inf"
                )
            )
        )

    async def recent(self, topic: str, before: str, most: int) -> list[OperationView]:
        moment, op_id = place_of(before, math.inf)
        index, earlier = (
            self._link.at(f"topic:{topic}"),
            functools.partial(operator.gt, (moment, op_id)),
        )
        return await self._part(
            functools.partial(self._link.client.zrevrangebyscore, index, moment, "-inf"),
            earlier,
            most,
        )

    async def _part(
        self,
        index: Callable[..., Awaitable[Any]],
        belongs: Callable[[tuple[float, str]], bool],
        most: int,
        wanted: Callable[[OperationView], bool] = lambda _: True,
    ) -> list[OperationView]:
        """The first operations of an index that belong to a part of it, of those that are wanted.

        Some may have begun at the same moment, be no longer kept, or have left the index since; so
        each read is one of the whole part.
        """
        size = most + 1
        while True:
            some = await self._link.ask(functools.partial(index, 0, size, withscores=True))
            there = await self._views(
                [name for name, score in some if belongs((score, name.decode()))]
            )
            found = list(filter(wanted, there))[:most]
            if len(found) == most or len(some) < size:
                return found
            size *= 2

    async def changes(self, topic: str, after: str) -> Changes:
        life, _, number = after.rpartition(" ")
        life_now, newest, ids = await self._link.run("changes", topic, life, number)
        return Changes(await self._views(ids), f"{life_now.decode()} {newest.decode()}")

    async def _views(self, ids: Sequence[bytes]) -> list[OperationView]:
        """In the same order, without those that are no longer kept.

        Nor those that another version has written in a form that this one does not know: they stop
        none of the others.
        """
        views: list[OperationView] = []
        for start in range(0, len(ids), _READ_BATCH):
            names = [op_id.decode() for op_id in ids[start : start + _READ_BATCH]]
            rows = await self._link.read_hashes(
                [f"operation:{name}" for name in names], VIEW_FIELDS
            )
            for name, row in zip(names, rows, strict=True):
                if row[0] is None:
                    continue
                try:
                    views.append(view(name, row))
                except (ValueError, TypeError) as error:
                    log.error(  # noqa: TRY400 - says it all
                        "an operation in the store is not understood and is passed over; was it"
                        " written by another version?",
                        op=name,
                        error=repr(error),
                    )
        return views
