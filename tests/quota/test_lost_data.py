"""A store that loses its data while something is under way: what was counted or read before says
nothing of the new data.
"""

import asyncio
import contextlib

import pytest

from emulator.settings import DATABASES_PROJECT_ID, RESEARCH_PROJECT_ID
from emulator.transitions import Mode, Pace
from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import StoreDown, StoreSettings, open_store
from tests.functional import stage
from tests.functional.calls import caller, until
from tests.quota.fleet import create
from tests.quota.scenes import gateway, limit, posts
from tests.quota.test_metrics import add

SLOW_LIST = {"kind": "delay", "seconds": 1, "match": {"operation": "ListVault"}, "times": 1}


@contextlib.asynccontextmanager
async def shared(tmp_path, valkey, *limits, settle_s=60):
    """A gateway on a Valkey that was in use before."""
    assert valkey.command("SET {cbrgw}:began 0").startswith(b"+OK")
    (tmp_path / "url").write_text(valkey.url)
    sections = {
        "quota": {"sweep_s": 1, "settle_s": settle_s, "markers": False},
        "state": {"kind": "valkey", "url": {"file": str(tmp_path / "url")}, "timeout_s": 5},
    }
    async with gateway(*limits, sections=sections, pace=Pace(Mode.IMMEDIATE)) as world:
        yield world


async def lose(valkey):
    """The data are lost, and another gateway has worked with the new ones by now."""
    assert valkey.command("FLUSHALL").startswith(b"+OK")
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
    ) as other:
        for _ in range(100):
            await other.counters.fence()


async def lists_under_way(world):
    await until(lambda: any(entry.status is None for entry in posts(world, "ListVault")))


async def refused(ending, cause="DATA_LOST"):
    ended = await ending
    assert (ended.reason, ended.details["ErrorInfo"].metadata["cause"]) == (
        "QUOTA_STORE_DOWN",
        cause,
    )


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_count_that_was_under_way_when_the_data_were_lost_lets_nothing_grow(
    tmp_path, valkey, noticed
):
    async with shared(tmp_path, valkey, limit("vaults", "tenant", 9)) as world:
        assert (await create(world, 0)).reason == "OK"
        recounter = world.app.recovery.recounter
        world.emulator.state.faults.add(SLOW_LIST)
        counting = asyncio.create_task(recounter.run())
        await lists_under_way(world)
        await lose(valkey)
        if noticed:
            await refused(create(world, 1))
        await asyncio.gather(counting, return_exceptions=True)
        await refused(create(world, 1))
        # Nor does another gateway find a count that it would trust.
        assert all(
            usage.counted_at is None
            for usage in (
                await world.app.store.counters.usage(list(recounter.counts.project_of))
            ).values()
        )
        assert len(posts(world)) == 1


async def test_a_change_that_was_being_prepared_when_the_data_were_lost_does_not_grow(
    tmp_path, valkey
):
    """It was known how much there is; then its namesakes are listed."""
    async with shared(tmp_path, valkey, limit("vaults", "tenant", 9)) as world:
        assert (await create(world, 0)).reason == "OK"
        world.emulator.state.faults.add(SLOW_LIST)
        preparing = asyncio.create_task(create(world, 1))
        await lists_under_way(world)
        await lose(valkey)
        await world.app.recovery.recounter.life.check()
        await refused(preparing)
        assert len(posts(world)) == 1


async def test_members_wait_like_all_growth(tmp_path, valkey):
    """What was shared with others may be on its way, or not be listed yet, and only the lost data
    knew of it.
    """
    async with shared(
        tmp_path, valkey, limit("members_per_backup", "tenant", 2), settle_s=3
    ) as world:
        backup_id = (await stage.backup(caller(world))).id
        assert (await add(world, backup_id, DATABASES_PROJECT_ID)).reason == "OK"
        await lose(valkey)
        await world.app.recovery.recounter.life.check()
        await refused(add(world, backup_id, RESEARCH_PROJECT_ID))


async def test_what_began_with_lost_data_does_not_touch_the_new_ones(valkey):
    """A count is not taken in, and a delete frees nothing that was counted without it."""
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
    ) as store:
        for _ in range(100):
            early = await store.counters.fence()
        await lose(valkey)
        await store.life.epoch()
        with pytest.raises(StoreDown):
            await store.counters.recount({"vaults": 1}, early, ())
        await store.counters.recount({"vaults": 5}, await store.counters.fence(), ())
        await store.counters.adjust("vaults", -1, "gone", early)
        assert (await store.counters.usage(["vaults"]))["vaults"].committed == 5
