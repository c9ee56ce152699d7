"""Rates and leases in a Valkey."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from gateway.state import gcra
from gateway.state.counters import Refused, Shortage
from gateway.state.leases import Leased, Slot
from gateway.state.rates import Bucket, Taken
from gateway.state.valkey_link import ValkeyLink

T = TypeVar("T")
_AT_ONCE: Final = 500
"""Keys that one script looks at: it holds up all others."""


class ValkeyLimits:
    """A RateLimiter and Leases, all of which raise StoreDown."""

    def __init__(self, link: ValkeyLink) -> None:
        self._link = link

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        rows = await self._link.run(
            "take", json.dumps([[b.key, b.rate_per_s, b.burst, b.cost, b.shadow] for b in buckets])
        )
        return gcra.verdict(
            buckets, [float(wait) for wait, _ in rows], [float(owed) for _, owed in rows]
        )

    async def owed(self, buckets: Sequence[Bucket]) -> Mapping[str, float]:
        found: dict[str, float] = {}
        for some in _parts(buckets):
            # What costs nothing is never refused, and changes no debt.
            asked = json.dumps([[b.key, b.rate_per_s, b.burst, 0, True] for b in some])
            rows = await self._link.run("take", asked)
            found |= {b.key: float(owed) for b, (_, owed) in zip(some, rows, strict=True)}
        return found

    async def held(self, keys: Sequence[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for some in _parts(keys):
            counts = await self._link.run("held", *some)
            found |= dict(zip(some, map(int, counts), strict=True))
        return found

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        leased, rows = await self._link.run(
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

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        return bool(await self._link.run("renew", holder, ttl_s, *keys))

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        async with self._link.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.zrem(self._link.at(f"lease:{key}"), holder)
            await self._link.ask(pipe.execute)

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:
        unbroken, there = await self._link.run("beat", process, ttl_s)
        return bool(unbroken), frozenset(name.decode() for name in there)

    async def left(self, process: str) -> None:
        await self._link.ask(lambda: self._link.client.srem(self._link.at("members"), process))


def _parts(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(all_of_them), _AT_ONCE):
        yield all_of_them[first : first + _AT_ONCE]
