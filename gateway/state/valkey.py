"""The shared store: every transition is one Lua script in a Valkey or Redis, atomic, by the
server's clock, in one round trip.

All keys begin with `{prefix}` and so lie in one hash slot of a cluster: an operation may charge
counters of several owners at once.
"""

import contextlib
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.renewal import Renewable
from gateway.state.degraded import LocalShare
from gateway.state.errors import StoreDown, WrongStore
from gateway.state.settings import StoreSettings
from gateway.state.store import Store
from gateway.state.valkey_channel import ValkeyChannel
from gateway.state.valkey_counters import ValkeyCounters
from gateway.state.valkey_limits import ValkeyLimits
from gateway.state.valkey_link import ValkeyLink, connected
from gateway.state.valkey_operations import ValkeyOperations
from gateway.state.valkey_queues import ValkeyQueues

_LOOK_S: Final = 10.0
"""How often a server is asked whether it keeps what it is given: its operator may change that."""
_TRY: Final = "return redis.call('SET', KEYS[1], '', 'XX')"


@contextlib.asynccontextmanager
async def open_valkey(
    settings: StoreSettings, clock: Clock, renew: Callable[[Renewable], None]
) -> AsyncIterator[Store]:
    """Does not wait for a Valkey that is down. Raises WrongStore for one that cannot be used."""
    async with connected(settings) as link:
        store = _store(link, settings, clock)
        if link.certificates is not None:
            renew(link.certificates)
        try:
            await store.life.epoch()
        except WrongStore:
            raise
        except StoreDown:
            pass
        yield store


async def problem_with(settings: StoreSettings) -> str:
    """What stands against using the Valkey, found out without changing anything; empty where
    nothing does.
    """
    async with connected(settings) as link:
        try:
            await ValkeyOverrides(link).version()
            await keeps_all(link)
            # Writes nothing where there is nothing, and is refused wherever writes are.
            await link.ask(lambda: link.client.eval(_TRY, 1, link.at("check")))
        except StoreDown as down:
            return str(down)
    return ""


def _store(link: ValkeyLink, settings: StoreSettings, clock: Clock) -> Store:
    keep_ms = max(1, round(settings.replay_ttl_s * 1000))
    shared = ValkeyLimits(link)
    limits = LocalShare(shared, shared, clock, settings.replicas)
    return Store(
        operations=ValkeyOperations(link, keep_ms),
        counters=ValkeyCounters(link, keep_ms),
        rates=limits,
        leases=limits,
        channel=ValkeyChannel(link, clock),
        overrides=ValkeyOverrides(link),
        anchors=ValkeyWords(link, "anchors"),
        cursors=ValkeyWords(link, "cursors"),
        queues=ValkeyQueues(link),
        life=ValkeyLife(link),
    )


async def keeps_all(link: ValkeyLink) -> None:
    """Raises WrongStore for a server that drops keys when its memory is used up; until it keeps
    them nothing else is asked of it.

    One that does not tell is used all the same.
    """
    try:
        memory = await link.ask_doubted(lambda: link.client.info("memory"))
    except StoreDown:
        return
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        link.doubt = (
            f"the shared store drops what it holds when its memory is used up (maxmemory-policy"
            f" {policy}), and with it limits and request_ids. Set maxmemory-policy to noeviction"
        )
        raise WrongStore(link.doubt)
    link.doubt = ""


class ValkeyOverrides:
    """A VersionedKeyValue."""

    def __init__(self, link: ValkeyLink) -> None:
        self._link = link

    async def put(self, key: str, value: bytes) -> None:
        await self._link.run_copied("override", key, value)

    async def delete(self, key: str) -> None:
        await self._link.run_copied("override", key)

    async def all(self) -> Mapping[str, bytes]:
        return await self._link.hash("overrides")

    async def version(self) -> int:
        return int(
            await self._link.ask(lambda: self._link.client.get(self._link.at("overrides_version")))
            or 0
        )


class ValkeyWords:
    """A SingleKeyValue, in one hash."""

    def __init__(self, link: ValkeyLink, name: str) -> None:
        self._link, self._name = link, name

    async def put(self, key: str, value: bytes) -> None:
        at = self._link.at(self._name)
        await self._link.ask(lambda: self._link.client.hset(at, key, value))

    async def get(self, key: str) -> bytes:
        at = self._link.at(self._name)
        return await self._link.ask(lambda: self._link.client.hget(at, key)) or b""

    async def all(self) -> Mapping[str, bytes]:
        return await self._link.hash(self._name)


class ValkeyLife:
    """A Life."""

    def __init__(self, link: ValkeyLink) -> None:
        self._link = link
        self._looked_at = b""
        self._look_again_at = 0.0

    async def epoch(self) -> str:
        if self._link.doubt:
            await keeps_all(self._link)
        epoch, life = await self._link.run("epoch", uuid.uuid4().hex)
        self._link.epoch = epoch.decode()
        now = time.monotonic()
        if life != self._looked_at or now >= self._look_again_at:
            await keeps_all(self._link)
            self._looked_at, self._look_again_at = life, now + _LOOK_S
        return str(life.decode())

    async def age_s(self) -> float:
        return float(await self._link.run("age"))

    async def told(self, process: str) -> None:
        await self._link.ask(lambda: self._link.client.srem(self._link.at("silent"), process))

    async def silence_s(self) -> float:
        return float(await self._link.run("silence") or math.inf)

    async def time(self) -> float | None:
        seconds, microseconds = await self._link.ask(self._link.client.time)
        return float(seconds + microseconds / 1e6)
