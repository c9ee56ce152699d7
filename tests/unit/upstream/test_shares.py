"""Places among the connections to a host: as many for each project as are free beyond those of its
tenant, and none is lost.
"""

import asyncio
import contextlib
import random
from collections import Counter

from gateway.upstream.shares import Holder, Places
from tests.functional.calls import until


async def take(places: Places, tenant: str, project: str = "") -> None:
    holder = Holder(tenant, project)
    if places.may_take(holder):
        places.take(holder)
    else:
        await places.wait(holder)


def taken(places: Places, tenant: str, project: str = "") -> int:
    """As many as it may have at once."""
    count, holder = 0, Holder(tenant, project)
    while places.may_take(holder):
        places.take(holder)
        count += 1
    return count


async def test_one_project_comes_to_a_third_and_each_further_tenant_finds_room():
    places = Places(150)
    assert [taken(places, f"tenant-{number}") for number in range(5)] == [50, 34, 22, 15, 10]


async def test_the_projects_of_a_tenant_come_to_half_and_leave_each_other_room():
    places = Places(150)
    assert [taken(places, "one", f"project-{number}") for number in range(4)] == [50, 17, 6, 2]
    assert taken(places, "other") == 25


async def test_who_has_many_waiting_does_not_hold_up_who_holds_as_few():
    places, served = Places(1), []

    async def one(tenant: str) -> None:
        await take(places, tenant)
        served.append(tenant)
        await asyncio.sleep(0)
        places.give_back(Holder(tenant))

    async with asyncio.timeout(60):
        await asyncio.gather(*(one("many") for _ in range(50)), *(one("few") for _ in range(5)))
    assert [at for at, tenant in enumerate(served) if tenant == "few"] == [2, 4, 6, 8, 10]


async def test_who_holds_the_fewest_is_served_first_and_all_come_to_the_same():
    places, held = Places(150), Counter[str]()

    async def one(tenant: str) -> None:
        await take(places, tenant)
        held[tenant] += 1

    waiting = [asyncio.create_task(one(tenant)) for tenant in ("a", "b", "c") for _ in range(100)]
    await until(lambda: held.total() >= 106)
    for _ in range(100):
        tenant = max(held, key=held.__getitem__)
        held[tenant] -= 1
        places.give_back(Holder(tenant))
        await asyncio.sleep(0)
    assert all(held[tenant] in {29, 30, 31} for tenant in "abc")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_single_connection_serves_all_in_turn():
    places, served = Places(1), []

    async def one(tenant: str) -> None:
        await take(places, tenant)
        await asyncio.sleep(0)
        served.append(tenant)
        places.give_back(Holder(tenant))

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
            places.give_back(Holder(tenant))

    async def impatient(tenant: str) -> None:
        task = asyncio.create_task(one(tenant))
        await asyncio.sleep(dice.random() * 0.004)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    await asyncio.gather(*(impatient(f"{number % 5}") for number in range(2000)))
    assert (taken(places, "a"), taken(places, "b")) == (4, 2)
