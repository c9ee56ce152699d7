"""Several gateways on one Valkey hold one set of limits and know one another's request_ids."""

import functools
from collections import Counter

import pytest

from tests.quota.fleet import at_most, create, running_fleet
from tests.quota.oracle import agreed, created
from tests.quota.scenes import SOAK, limit, often, posts

pytestmark = pytest.mark.timeout(900 if SOAK else 300)
LISTING = {"operation": "ListVault"}
GATEWAYS = often(2, 4)


async def test_together_they_create_exactly_as_many_as_the_limit_allows(tmp_path, valkey):
    most, calls = often(10, 100), often(200, 10_000)
    async with running_fleet(tmp_path, valkey, GATEWAYS, limit("vaults", "tenant", most)) as fleet:
        worlds = fleet.worlds
        ended = await at_most(
            400,
            [functools.partial(create, worlds[n % GATEWAYS], n, within_s=60) for n in range(calls)],
        )
        assert Counter(e.reason for e in ended) == {
            "OK": most,
            "RESOURCE_COUNT_LIMIT": calls - most,
        }
        assert len(posts(worlds[0], committed=True)) == len(created(worlds[0])) == most
        await agreed(worlds[0])


async def test_one_request_id_is_one_change_over_all(tmp_path, valkey):
    """Each id twenty times, a quarter of them after a gateway was started again; the other tenant
    uses the same ids for vaults of its own.
    """
    ids, times = often(12, 1000), 20
    async with running_fleet(tmp_path, valkey, GATEWAYS) as fleet:
        worlds = fleet.worlds
        worlds[0].emulator.state.faults.add(
            {
                "kind": "delay",
                "seconds": 0.1,
                "match": {"operation": "CreateVault"},
                "times": ids // 2,
            }
        )

        def repeats(numbers):
            return [
                functools.partial(
                    create, worlds[(n + i) % GATEWAYS], i, within_s=60, request_id=f"r-{i}"
                )
                for i in range(ids)
                for n in numbers
            ]

        ended = await at_most(400, repeats(range(times * 3 // 4)))
        await fleet.restart(0)
        ended += await at_most(400, repeats(range(times // 4)))
        assert Counter(e.reason for e in ended) == {"OK": ids * times}
        answers = {e.response.vault.name: set() for e in ended}
        for each in ended:
            answers[each.response.vault.name].add(each.response.SerializeToString())
        assert {len(found) for found in answers.values()} == {1}
        assert Counter(e.trailers.get("replayed") for e in ended) == {
            None: ids,
            "true": ids * (times - 1),
        }
        assert len(posts(worlds[0])) == ids

        other = await at_most(
            400,
            [
                functools.partial(create, worlds[i % GATEWAYS], i, size=11, request_id=f"r-{i}")
                for i in range(ids)
            ],
        )
        assert {e.reason for e in other} == {"IDEMPOTENCY_MISMATCH"}
        theirs = await at_most(
            400,
            [
                functools.partial(create, worlds[i % GATEWAYS], i, "databases", request_id=f"r-{i}")
                for i in range(ids)
            ],
        )
        assert {(e.reason, e.trailers.get("replayed")) for e in theirs} == {("OK", None)}
        assert len(posts(worlds[0])) == 2 * ids
