"""Rates and leases, held by every implementation."""

import asyncio
import math

import pytest

from gateway.state import Bucket, Leased, Refused, Shortage, Slot, Store
from tests.state.benches import Bench, running_bench, settings_for


async def test_a_bucket_gives_its_burst_and_then_its_rate(bench: Bench):
    bucket = Bucket("calls", rate_per_s=0.02, burst=3)
    taken = [await bench.store.rates.take([bucket]) for _ in range(4)]
    assert [t.allowed for t in taken] == [True, True, True, False]
    assert [t.remaining for t in taken] == [2, 1, 0, 0]
    assert taken[3].violated == ("calls",)
    assert 0 < taken[3].retry_after_s <= 50.1 < taken[3].reset_s <= 150.1
    soon = Bucket("soon", rate_per_s=10, burst=1)
    assert (await bench.store.rates.take([soon])).allowed
    await bench.wait(0.11)
    assert (await bench.store.rates.take([soon])).allowed


async def test_all_buckets_or_none(bench: Bench):
    tight, wide = Bucket("tight", 0.01, 1), Bucket("wide", 0.01, 5)
    assert (await bench.store.rates.take([tight, wide])).remaining == 0
    for _ in range(3):
        refused = await bench.store.rates.take([wide, tight])
        assert (refused.allowed, refused.violated) == (False, ("tight",))
    assert (await bench.store.rates.take([wide])).remaining == 3


async def test_a_shadow_bucket_only_reports(store: Store):
    buckets = [Bucket("calls", 0.01, 9), Bucket("trial", 0.01, 1, shadow=True)]
    assert (await store.rates.take(buckets)).would_refuse == ()
    taken = await store.rates.take(buckets)
    assert (taken.allowed, taken.violated, taken.would_refuse, taken.remaining) == (
        True,
        (),
        ("trial",),
        7,
    )


async def test_a_cost_above_the_burst_is_never_allowed(store: Store):
    taken = await store.rates.take([Bucket("calls", 1, 2, cost=3)])
    assert (taken.allowed, taken.retry_after_s) == (False, math.inf)
    assert (await store.rates.take([Bucket("calls", 1, 2, cost=2)])).allowed


async def test_no_buckets_allow(store: Store):
    assert (await store.rates.take([])).allowed


async def test_leases_end_by_freeing_or_by_time(bench: Bench):
    store, slot = bench.store, Slot("streams", 2)
    assert await store.leases.lease("a", [slot], 60) == Leased()
    assert await store.leases.lease("b", [slot], 60) == Leased()
    assert await store.leases.lease("a", [slot], 60) == Leased()
    assert await store.leases.lease("c", [slot], 60) == Refused((Shortage("streams", 2, 2, 0, 1),))
    await store.leases.free("a", ["streams"])
    await store.leases.free("a", ["streams", "never"])
    assert await store.leases.lease("c", [slot], 60) == Leased()
    assert await store.leases.lease("b", [slot], 0.1) == Leased()
    await bench.wait(0.15)
    assert await store.leases.lease("d", [slot], 60) == Leased()
    assert await store.leases.renew("b", ["streams"], 60) is False
    assert isinstance(await store.leases.lease("b", [slot], 60), Refused)


async def test_a_renewed_lease_lives_on(bench: Bench):
    store = bench.store
    await store.leases.lease("a", [Slot("streams", 1), Slot("other", 1)], 1.5)
    await bench.wait(0.1)
    assert await store.leases.renew("a", ["streams", "other"], 60)
    await bench.wait(1.5)
    assert isinstance(await store.leases.lease("b", [Slot("streams", 1)], 60), Refused)
    assert await store.leases.renew("a", ["streams", "other"], 0.1)
    await bench.wait(0.15)
    assert await store.leases.lease("b", [Slot("streams", 1)], 60) == Leased()


async def test_a_place_under_every_key_or_none(store: Store):
    await store.leases.lease("a", [Slot("one", 1)], 60)
    assert isinstance(await store.leases.lease("b", [Slot("two", 1), Slot("one", 1)], 60), Refused)
    assert await store.leases.lease("c", [Slot("two", 1)], 60) == Leased()


async def test_a_shadow_slot_only_reports(store: Store):
    slot = Slot("streams", 0, shadow=True)
    assert await store.leases.lease("a", [slot], 60) == Leased((Shortage("streams", 0, 0, 0, 1),))


async def test_many_at_once_share_the_places(store: Store):
    answers = await asyncio.gather(
        *(store.leases.lease(str(n), [Slot("streams", 7)], 60) for n in range(30))
    )
    assert sum(isinstance(answer, Leased) for answer in answers) == 7


@pytest.mark.parametrize("shared", ["owned", "valkey"])
async def test_what_is_published_is_heard_by_those_who_share_the_store(shared, tmp_path, valkey):
    async with running_bench(settings_for(shared, tmp_path, valkey)) as bench:
        await bench.store.channel.publish("news", b"one")
        await bench.store.channel.publish("news", b"two")
        heard = await bench.store.channel.heard({"news": "0", "other": "0"})
        assert [each.payload for each in heard] == [b"one", b"two"]
        assert all(0 <= each.ago_s < 60 for each in heard)
        assert await bench.store.channel.heard({"news": heard[-1].position}) == []
        for number in range(10):
            await bench.store.channel.publish("news", b"%d" % number)
        assert [
            each.payload for each in await bench.store.channel.heard({"news": heard[-1].position})
        ] == [
            b"6",
            b"7",
            b"8",
            b"9",
        ]


async def test_a_file_has_nobody_to_tell(tmp_path, valkey):
    async with running_bench(settings_for("file", tmp_path, valkey)) as bench:
        await bench.store.channel.publish("news", b"one")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.store.channel.heard({"news": "0"}), 0.05)


async def test_who_holds_and_what_is_owed_is_told_without_taking(bench: Bench):
    store = bench.store
    slots = [Slot("streams", 3), Slot("other", 3)]
    await store.leases.lease("a", slots, 60)
    await store.leases.lease("b", slots[:1], 60)
    await store.leases.lease("c", slots[:1], 0.1)
    await bench.wait(0.15)
    for _ in range(2):
        assert await store.leases.held(["streams", "other", "never"]) == {
            "streams": 2,
            "other": 1,
            "never": 0,
        }
    bucket, full = Bucket("calls", 0.001, 10, cost=3), Bucket("full", 0.001, 10)
    await store.rates.take([bucket])
    for _ in range(2):
        owed = await store.rates.owed([bucket, full])
        assert owed["calls"] == pytest.approx(3, abs=0.01)
        assert owed["full"] == 0
    assert (await store.rates.take([bucket])).remaining == 4
    assert await store.leases.held([]) == {}
    assert await store.rates.owed([]) == {}
