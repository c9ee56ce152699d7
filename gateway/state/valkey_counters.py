"""Counters in a Valkey."""

import functools
import json
from collections.abc import Collection, Mapping, Sequence

from gateway.state.counters import NO_TOTALS, Total, Usage
from gateway.state.errors import StoreDown
from gateway.state.valkey_link import ValkeyLink


class ValkeyCounters:
    """Counters. `keep_ms`: for how long it is known which objects are gone."""

    def __init__(self, link: ValkeyLink, keep_ms: int) -> None:
        self._link = link
        self._keep_ms = keep_ms

    async def usage(self, keys: Sequence[str]) -> Mapping[str, Usage]:
        rows = await self._link.read_hashes(
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

    async def fence(self) -> int:
        return int(
            await self._link.ask(
                functools.partial(self._link.client.incr, self._link.at("sequence"))
            )
        )

    async def adjust(
        self, key: str, delta: int, resource_id: str, since: int | None = None
    ) -> bool:
        return bool(
            await self._link.run(
                "adjust", key, delta, resource_id, "" if since is None else since, self._keep_ms
            )
        )

    async def recount(
        self,
        counts: Mapping[str, int],
        fence: int,
        seen_ids: Collection[str],
        settle_s: float = 0.0,
        sums: Mapping[str, Total] = NO_TOTALS,
    ) -> None:
        totals = json.dumps([[key, total.parts, total.assumed] for key, total in sums.items()])
        if await self._link.run(
            "recount",
            fence,
            json.dumps(list(counts.items())),
            json.dumps(list(seen_ids)),
            settle_s,
            totals,
        ):
            raise StoreDown("the data of the store are not those that the listing began with")
