"""The shared store: every transition is one Lua script in a Valkey or Redis, atomic, by the
server's clock, in one round trip.

All keys begin with `{prefix}` and so lie in one hash slot of a cluster: an operation may charge
counters of several owners at once. The client library never repeats a command, because a repetition
after a timeout could not be told from a second call; who repeats is the caller, and each script
bears it.
"""

import contextlib
import functools
import json
import math
import operator
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from gateway.clock import Clock
from gateway.state import gcra
from gateway.state.degraded import LocalShare
from gateway.state.settings import StoreSettings
from gateway.state.store import (
    MAX_RESPONSE_BYTES,
    NO_TOTALS,
    OPEN,
    Admitted,
    Begun,
    Bucket,
    Changes,
    Heard,
    InProgress,
    Leased,
    Mismatch,
    Operation,
    OperationView,
    Refused,
    Replay,
    Shortage,
    Slot,
    State,
    StoreDown,
    Taken,
    Total,
    Usage,
    WrongStore,
    place_of,
)
from gateway.state.timeouts import answer_of
from gateway.state.transitions import TRANSITIONS, Event
from gateway.state.valkey_rules import FollowingPool, explained, wrong_store
from gateway.state.valkey_wire import VIEW_FIELDS, Scripts, charges_json, shortages, view

T = TypeVar("T")

_CONNECTIONS: Final = 32
_SWEEP_BATCH: Final = 200
_READ_BATCH: Final = 200
_KEPT: Final = 4
"""Of a channel."""
_KEPT_MS: Final = 60_000


@contextlib.asynccontextmanager
async def open_valkey(settings: StoreSettings, clock: Clock) -> AsyncIterator["ValkeyStore"]:
    """Does not wait for a Valkey that is down. Raises WrongStore for one that cannot be used."""
    async with _connected(settings, clock) as store:
        try:
            await store.epoch()
        except WrongStore:
            raise
        except StoreDown:
            pass
        yield store


async def problem_with(settings: StoreSettings, clock: Clock) -> str:
    """What stands against using the Valkey, found out by reads alone; empty where nothing does."""
    async with _connected(settings, clock) as store:
        try:
            await store.overrides_version()
        except StoreDown as down:
            return str(down)
    return ""


@contextlib.asynccontextmanager
async def _connected(settings: StoreSettings, clock: Clock) -> AsyncIterator["ValkeyStore"]:
    assert settings.url is not None
    pool = FollowingPool.from_url(
        settings.url.reveal(),
        max_connections=_CONNECTIONS,
        # Each question is bounded as a whole, by us.
        timeout=None,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=None,
        protocol=2,
    )
    try:
        yield ValkeyStore(
            Redis(connection_pool=pool),
            pool.leave,
            settings,
            LocalShare(clock, settings.replicas),
            clock,
        )
    finally:
        with contextlib.suppress(TimeoutError):
            await answer_of(pool.disconnect(), settings.answer_timeout_s)


class ValkeyStore:
    """A Store."""

    def __init__(
        self,
        client: Redis,
        leave: Callable[[], None],
        settings: StoreSettings,
        share: LocalShare,
        clock: Clock,
    ) -> None:
        self._client = client
        self._leave = leave
        self._base = f"{{{settings.prefix}}}"
        self._timeout_s = settings.answer_timeout_s
        self._keep_ms = max(1, round(settings.replay_ttl_s * 1000))
        self._share = share
        self._clock = clock
        self._scripts = Scripts()
        self._epoch = ""

    async def begin(self, op: Operation) -> Begun:
        request = (op.id, op.tenant, op.rpc, op.request_id, op.fingerprint)
        ledger_name = json.dumps([op.tenant, op.rpc, op.request_id])
        kept = (charges_json(op.charges), op.ttl_s, op.detail, ledger_name, self._keep_ms, op.topic)
        kind, *rest = await self._run("begin", self._epoch, *request, *kept)
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
        return bool(await self._run("note", op_id, note, before))

    async def _settle(self, op_id: str, event: Event, *outcome: str | bytes) -> State:
        state: bytes = await self._run(
            "settle", op_id, json.dumps(TRANSITIONS[event]), self._keep_ms, *outcome
        )
        return State(state.decode())

    async def sweep(self) -> int:
        ended = 0
        while True:
            expired, dropped = await self._run("sweep", _SWEEP_BATCH, self._keep_ms)
            ended += int(expired)
            if max(expired, dropped) < _SWEEP_BATCH:
                return ended

    async def adjust(
        self, key: str, delta: int, resource_id: str, since: int | None = None
    ) -> None:
        await self._run(
            "adjust", key, delta, resource_id, "" if since is None else since, self._keep_ms
        )

    async def fence(self) -> int:
        return int(await self._ask(functools.partial(self._client.incr, f"{self._base}:sequence")))

    async def recount(
        self,
        counts: Mapping[str, int],
        fence: int,
        seen_ids: Collection[str],
        settle_s: float = 0.0,
        sums: Mapping[str, Total] = NO_TOTALS,
    ) -> None:
        totals = json.dumps([[key, total.parts, total.assumed] for key, total in sums.items()])
        if await self._run(
            "recount",
            fence,
            json.dumps(list(counts.items())),
            json.dumps(list(seen_ids)),
            settle_s,
            totals,
        ):
            raise StoreDown("the data of the store are not those that the listing began with")

    async def usage(self, keys: Sequence[str]) -> Mapping[str, Usage]:
        rows = await self._read_hashes(
            [f"counter:{key}" for key in keys], ("committed", "reserved", "uncertain", "counted_at")
        )
        return {
            key: Usage(
                int(committed or 0),
                int(reserved or 0),
                int(uncertain or 0),
                float(counted_at) if counted_at else None,
            )
            for key, (committed, reserved, uncertain, counted_at) in zip(keys, rows, strict=True)
        }

    async def operations(
        self, tenant: str | None, states: Collection[State]
    ) -> list[OperationView]:
        ids: list[bytes] = []
        for name, members in (("open", OPEN), ("settled", set(State) - OPEN)):
            if members & set(states):
                ids += await self._ask(
                    functools.partial(self._client.zrange, f"{self._base}:{name}", 0, -1)
                )
        # By id: one that was settled between two reads is in both lists.
        found = {
            view.id: view
            for view in await self._views(ids)
            if view.state in states and tenant in {None, view.tenant}
        }
        return sorted(found.values(), key=lambda view: view.created_at)

    async def committed_within(self, seconds: float) -> list[OperationView]:
        now, _ = await self._ask(self._client.time)
        # Of the server's time only the whole seconds: rather one more than one less.
        ids = await self._ask(
            functools.partial(
                self._client.zrangebyscore, f"{self._base}:settled", now - seconds, "+inf"
            )
        )
        return [view for view in await self._views(ids) if view.state is State.COMMITTED]

    async def operation(self, op_id: str) -> OperationView | None:
        return next(iter(await self._views([op_id.encode()])), None)

    async def on_topic(self, topic: str, since: float) -> list[OperationView]:
        return await self._views(
            await self._ask(
                functools.partial(
                    self._client.zrangebyscore, f"{self._base}:topic:{topic}", since, "+inf"
                )
            )
        )

    async def recent(self, topic: str, before: str, most: int) -> list[OperationView]:
        moment, op_id = place_of(before, math.inf)
        index, earlier = (
            f"{self._base}:topic:{topic}",
            functools.partial(operator.gt, (moment, op_id)),
        )
        return await self._part(
            functools.partial(self._client.zrevrangebyscore, index, moment, "-inf"), earlier, most
        )

    async def opened(self, after: str, most: int) -> list[OperationView]:
        moment, op_id = place_of(after, -math.inf)
        later = functools.partial(operator.lt, (moment, op_id))
        return await self._part(
            functools.partial(self._client.zrangebyscore, f"{self._base}:open", moment, "+inf"),
            later,
            most,
        )

    async def _part(
        self,
        index: Callable[..., Awaitable[Any]],
        belongs: Callable[[tuple[float, str]], bool],
        most: int,
    ) -> list[OperationView]:
        """The first operations of an index that belong to a part of it.

        Some may have begun at the same moment, or be no longer kept.
        """
        found: list[OperationView] = []
        start, some = 0, [(b"", 0.0)] * most
        while len(found) < most == len(some):
            some = await self._ask(functools.partial(index, start, most, withscores=True))
            found += await self._views(
                [name for name, score in some if belongs((score, name.decode()))]
            )
            start += most
        return found[:most]

    async def changes(self, topic: str, after: str) -> Changes:
        life, _, number = after.rpartition(" ")
        life_now, newest, ids = await self._run("changes", topic, life, number)
        return Changes(await self._views(ids), f"{life_now.decode()} {newest.decode()}")

    async def _views(self, ids: Sequence[bytes]) -> list[OperationView]:
        """In the same order, without those that are no longer kept."""
        views: list[OperationView] = []
        for start in range(0, len(ids), _READ_BATCH):
            names = [op_id.decode() for op_id in ids[start : start + _READ_BATCH]]
            rows = await self._read_hashes([f"operation:{name}" for name in names], VIEW_FIELDS)
            views += [
                view(name, row) for name, row in zip(names, rows, strict=True) if row[0] is not None
            ]
        return views

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        async def shared() -> Taken:
            rows = await self._run(
                "take",
                json.dumps([[b.key, b.rate_per_s, b.burst, b.cost, b.shadow] for b in buckets]),
            )
            return gcra.verdict(
                buckets, [float(wait) for wait, _ in rows], [float(owed) for _, owed in rows]
            )

        return await self._share.take(shared, buckets)

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        async def shared() -> Leased | Refused:
            leased, rows = await self._run(
                "lease", holder, ttl_s, json.dumps([[s.key, s.limit, s.shadow] for s in slots])
            )
            short = [(slots[index], holders) for index, holders in rows]
            if leased:
                return Leased(
                    tuple(Shortage(slot.key, slot.limit, holders, 0, 1) for slot, holders in short)
                )
            return Refused(
                tuple(
                    Shortage(slot.key, slot.limit, holders, 0, 1)
                    for slot, holders in short
                    if not slot.shadow
                )
            )

        return await self._share.lease(shared, holder, slots, ttl_s)

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        async def shared() -> bool:
            return bool(await self._run("renew", holder, ttl_s, *keys))

        return await self._share.renew(shared, holder, keys, ttl_s)

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        async def shared() -> None:
            async with self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.zrem(f"{self._base}:lease:{key}", holder)
                await self._ask(pipe.execute)

        await self._share.free(shared, holder, keys)

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:
        unbroken, there = await self._run("beat", process, ttl_s)
        return bool(unbroken), frozenset(name.decode() for name in there)

    async def publish(self, channel: str, payload: bytes) -> None:
        name = f"{self._base}:channel:{channel}"
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.xadd(name, {"payload": payload}, maxlen=_KEPT, approximate=False)
            pipe.pexpire(name, _KEPT_MS)
            await self._ask(pipe.execute)

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:
        prefix = f"{self._base}:channel:"
        asked_at = self._clock.monotonic()
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.xread(
                {f"{prefix}{channel}": position for channel, position in after.items()},
                block=round(self._timeout_s * 500),
            )
            (seconds, micros), streams = await self._ask(pipe.execute)
        # The server took its time after we asked, so that nothing is younger than this says.
        waited_s = self._clock.monotonic() - asked_at
        asked_ms: float = seconds * 1000 + micros / 1000

        def ago_s(position: bytes) -> float:
            return waited_s - (int(position.split(b"-")[0]) - asked_ms) / 1000

        return [
            Heard(
                name.decode().removeprefix(prefix),
                position.decode(),
                ago_s(position),
                fields[b"payload"],
            )
            for name, entries in streams or ()
            for position, fields in entries
        ]

    async def put_override(self, key: str, value: bytes) -> None:
        await self._run("override", key, value)

    async def delete_override(self, key: str) -> None:
        await self._run("override", key)

    async def overrides(self) -> Mapping[str, bytes]:
        return await self._hash("overrides")

    async def overrides_version(self) -> int:
        return int(
            await self._ask(lambda: self._client.get(f"{self._base}:overrides_version")) or 0
        )

    async def put_anchor(self, writer: str, anchor: bytes) -> None:
        await self._ask(lambda: self._client.hset(f"{self._base}:anchors", writer, anchor))

    async def anchors(self) -> Mapping[str, bytes]:
        return await self._hash("anchors")

    async def ping(self) -> None:
        await self._ask(self._client.ping)

    async def time(self) -> float | None:
        seconds, microseconds = await self._ask(self._client.time)
        return float(seconds + microseconds / 1e6)

    async def epoch(self) -> str:
        epoch, life = await self._run("epoch", uuid.uuid4().hex)
        self._epoch = epoch.decode()
        return str(life.decode())

    async def age_s(self) -> float:
        return float(await self._run("age"))

    async def _hash(self, name: str) -> Mapping[str, bytes]:
        known: dict[bytes, bytes] = await self._ask(
            lambda: self._client.hgetall(f"{self._base}:{name}")
        )
        return {key.decode(): value for key, value in known.items()}

    async def _read_hashes(self, names: Sequence[str], fields: Sequence[str]) -> list[list[Any]]:
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(f"{self._base}:{name}", list(fields))
            rows: list[list[Any]] = await self._ask(pipe.execute)
            return rows

    async def _run(self, script: str, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - each script has its own answer
        """Runs `lua/<script>.lua`.

        The server learns a script when it does not know it, which had no effect yet.
        """

        async def evaluate() -> Any:  # noqa: ANN401 - as above
            try:
                return await self._client.evalsha(
                    self._scripts.sha(script), 1, self._base, *arguments
                )
            except NoScriptError:
                return await self._client.eval(
                    self._scripts.text(script), 1, self._base, *arguments
                )

        return await self._ask(evaluate)

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as the library
        try:
            return await answer_of(question(), self._timeout_s)
        except (RedisError, OSError, TimeoutError) as error:
            self._leave()
            raise (WrongStore if wrong_store(error) else StoreDown)(explained(error)) from error
