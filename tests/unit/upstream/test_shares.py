"""Places among the connections to a host: as many for each tenant as are free, and none is lost."""

import asyncio
import contextlib
import random
from collections import Counter

from gateway.upstream.shares import Places
from tests.functional.calls import until


async def take(places: Places, tenant: str) -> None:
    if places.may_take(tenant):
        places.take(tenant)
    else:
        await places.wait(tenant)


def taken(places: Places, tenant: str) -> int:
    """As many as it may have at once."""
    count = 0
    while places.may_take(tenant):
        places.take(tenant)
        count += 1
    return count


async def test_one_tenant_comes_to_half_and_each_further_one_finds_room():
    places = Places(100)
    assert [taken(places, f"tenant-{number}") for number in range(7)] == [50, 25, 13, 6, 3, 2, 1]


async def test_who_holds_the_fewest_is_served_first_and_all_come_to_the_same():
    places, held = Places(100), Counter[str]()

    async def one(tenant: str) -> None:
        await take(places, tenant)
        held[tenant] += 1

    waiting = [asyncio.create_task(one(tenant)) for tenant in ("a", "b", "c") for _ in range(100)]
    await until(lambda: held.total() >= 87)
    for _ in range(100):
        tenant = max(held, key=held.__getitem__)
        held[tenant] -= 1
        places.give_back(tenant)
        await asyncio.sleep(0)
    assert all(held[tenant] in {24, 25, 26} for tenant in "abc")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_single_connection_serves_all_in_turn():
    places, served = Places(1), []

    async def one(tenant: str) -> None:
        await take(places, tenant)
        await asyncio.sleep(0)
        served.append(tenant)
        places.give_back(tenant)

    async with asyncio.timeout(60):
        await asyncio.gather(*(one(f"{number % 3}") for number in range(30)))
    assert Counter(served) == {"0": 10, "1": 10, "2": 10}


async def test_no_place_is_lost_when_those_who_wait_give_up_at_any_moment():
    dice, places = random.Random(7), Places(10)

    async def one(tenant: str) -> None:
        await take(places, tenant)
        try:
            await asyncio.sleep(dice.random() * 0.002)
        finally:
            places.give_back(tenant)

    async def impatient(tenant: str) -> None:
        task = asyncio.create_task(one(tenant))
        await asyncio.sleep(dice.random() * 0.004)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    await asyncio.gather(*(impatient(f"{number % 5}") for number in range(2000)))
    assert (taken(places, "a"), taken(places, "b")) == (5, 3)
