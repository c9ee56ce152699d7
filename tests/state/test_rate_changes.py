"""A rate limit that changes while its bucket is not full: what was taken is owed in calls, never in
seconds of the old rate.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.state import Bucket, Store, gcra
from tests.state.benches import Bench, running_bench, settings_for
from tests.state.valkey_server import ValkeyProcess, running_valkey


def calls(rate: float, burst: float, cost: float = 1) -> Bucket:
    return Bucket("calls", rate, burst, cost)


@pytest.fixture(params=["file", "memory", "owned", "valkey", "local share"])
async def bench(request, tmp_path, valkey: ValkeyProcess) -> AsyncIterator[Bench]:
    async with contextlib.AsyncExitStack() as stack:
        if request.param != "local share":
            yield await stack.enter_async_context(
                running_bench(settings_for(request.param, tmp_path, valkey))
            )
            return
        server = stack.enter_context(running_valkey(tmp_path))
        running = await stack.enter_async_context(
            running_bench(settings_for("valkey", tmp_path, server, timeout_s=0.5))
        )
        server.kill()
        yield running


async def drained(store: Store, bucket: Bucket) -> None:
    while (await store.rates.take([bucket])).allowed:
        pass


async def test_a_raised_rate_counts_from_the_next_call_on(bench: Bench):
    await drained(bench.store, calls(0.01, 10))
    refused = await bench.store.rates.take([calls(0.5, 10)])
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 1.5 < refused.retry_after_s <= 2
    assert 18 < refused.reset_s <= 20
    await drained(bench.store, calls(0.01, 10))
    # Nobody called between the change and now, and the wait told above is over.
    await bench.wait(0.3)
    assert (await bench.store.rates.take([calls(5, 10)])).allowed


async def test_a_refused_call_does_not_keep_the_old_rate(bench: Bench):
    await drained(bench.store, calls(0.01, 10))
    assert not (await bench.store.rates.take([calls(5, 10)])).allowed
    allowed = []
    for _ in range(3):
        await bench.wait(0.08)
        allowed.append((await bench.store.rates.take([calls(5, 10)])).allowed)
    assert any(allowed)


async def test_a_lowered_rate_gives_nothing_anew_and_takes_nothing_back(bench: Bench):
    for _ in range(4):
        await bench.store.rates.take([calls(2, 10)])
    taken = await bench.store.rates.take([calls(0.01, 10)])
    # Four were taken before; the bucket refills a little by itself while the test runs.
    assert taken.allowed
    assert 5 <= taken.remaining <= 9
    await drained(bench.store, calls(0.01, 10))
    assert 90 < (await bench.store.rates.take([calls(0.01, 10)])).retry_after_s <= 100


async def test_a_lowered_burst_owes_at_most_itself(bench: Bench):
    await drained(bench.store, calls(0.01, 100))
    refused = await bench.store.rates.take([calls(0.01, 10)])
    assert not refused.allowed
    assert 90 < refused.retry_after_s <= 100
    assert refused.reset_s <= 1000


async def test_a_raised_burst_can_be_used_at_once(bench: Bench):
    await drained(bench.store, calls(0.01, 10))
    taken = await bench.store.rates.take([calls(0.01, 100)])
    assert (taken.allowed, taken.remaining) == (True, 89)


async def test_the_same_rate_in_another_period_changes_nothing(bench: Bench):
    """300 in a minute are 5 in a second."""
    await drained(bench.store, calls(0.3 / 60, 10))
    assert 190 < (await bench.store.rates.take([calls(0.005, 10)])).retry_after_s <= 200


async def test_changes_there_and_back_owe_what_was_taken(bench: Bench):
    for _ in range(5):
        await bench.store.rates.take([calls(0.01, 10)])
    for rate in (0.02, 0.005, 0.01, 0.001) * 3:
        refused = await bench.store.rates.take([calls(rate, 10, cost=9)])
        assert (refused.allowed, refused.remaining) == (False, 5)
    assert (await bench.store.rates.take([calls(0.01, 10, cost=5)])).allowed


async def test_all_or_none_holds_while_one_of_two_changes(bench: Bench):
    await drained(bench.store, calls(0.01, 3))
    wide = Bucket("wide", 0.01, 50)
    for rate in (0.02, 0.04):
        refused = await bench.store.rates.take([wide, calls(rate, 3)])
        assert (refused.allowed, refused.violated) == (False, ("calls",))
    assert (await bench.store.rates.take([wide])).remaining == 49


async def test_calls_of_different_cost_share_a_small_share(tmp_path):
    """The share of a dear call is its cost; a cheap one after it must not find it given back."""
    with running_valkey(tmp_path) as server:
        async with running_bench(
            settings_for("valkey", tmp_path, server, timeout_s=0.5, replicas=5)
        ) as bench:
            server.kill()
            assert (await bench.store.rates.take([calls(0.01, 20, cost=10)])).allowed
            for cost in (1, 10, 1):
                assert not (await bench.store.rates.take([calls(0.01, 20, cost=cost)])).allowed


async def test_what_an_earlier_version_left_in_a_valkey_is_owed_by_the_limit_of_today(
    tmp_path, valkey: ValkeyProcess
):
    """It kept the time at which the bucket is full, by a rate that nobody knows any more."""
    settings = settings_for("valkey", tmp_path, valkey)
    async with running_bench(settings) as bench:
        for name, in_s in (("calls", 100), ("nearly", 2), ("full", -5)):
            seconds = int(valkey.command("TIME").split(b"\r\n")[2]) + in_s
            assert valkey.command(
                "SET", f"{{{settings.prefix}}}:bucket:{name}", str(seconds)
            ).startswith(b"+OK")
        refused = await bench.store.rates.take([calls(0.5, 10)])
        assert not refused.allowed
        assert refused.retry_after_s <= 2
        nearly = await bench.store.rates.take([Bucket("nearly", 1, 10)])
        assert nearly.allowed
        assert 6 <= nearly.remaining <= 8
        assert (await bench.store.rates.take([Bucket("full", 1, 10)])).remaining == 9
        await asyncio.sleep(0)
        assert valkey.command("EXISTS", f"{{{settings.prefix}}}:bucket:calls").startswith(b":0")


def test_between_two_calls_the_greater_of_their_rates_counts():
    """Nobody tells the bucket when the rate changed: the doubt is the caller's, up to one burst."""
    debts = {}
    for _ in range(10):
        gcra.take(debts, [calls(1, 10)], 0)
    assert gcra.take(dict(debts), [calls(0.01, 10)], 5).remaining == 4
    assert gcra.take(dict(debts), [calls(2, 10)], 5).remaining == 9
