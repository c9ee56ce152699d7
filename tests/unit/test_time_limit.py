"""Waits that may last so long, by one timer for all."""

import asyncio
import contextlib

import pytest

from gateway.time_limit import TimeLimit

LONG_S = 3600


async def waits(limit, wait):
    with limit:
        return await wait


async def begun(limit, wait):
    task = asyncio.create_task(waits(limit, wait))
    await asyncio.sleep(0)
    return task


async def test_who_waits_for_too_long_is_told_and_not_cancelled():
    with pytest.raises(TimeoutError):
        await waits(TimeLimit(0.01), asyncio.Event().wait())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_has_all_of_the_time():
    limit, loop = TimeLimit(0.1), asyncio.get_running_loop()
    first, soon = await begun(limit, asyncio.Event().wait()), loop.create_future()
    second = await begun(limit, soon)
    soon.set_result("in time")
    assert await second == "in time"
    with pytest.raises(TimeoutError):
        await first
    began = loop.time()
    with pytest.raises(TimeoutError):
        await waits(limit, asyncio.Event().wait())
    assert loop.time() - began >= 0.1 - 0.001


async def test_what_ends_in_time_ends_as_it_is():
    limit = TimeLimit(LONG_S)
    with pytest.raises(ValueError, match="broken"), limit:
        raise ValueError("broken")
    task = await begun(limit, asyncio.Event().wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_while_late_is_cancelled():
    limit = TimeLimit(0.01)
    late = asyncio.Event()

    async def stubborn():
        with limit:
            try:
                await asyncio.Event().wait()
            finally:
                late.set()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await late.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_shorter_time_holds_for_those_who_wait_already():
    limit = TimeLimit(LONG_S)
    tasks = [await begun(limit, asyncio.Event().wait()) for _ in range(3)]
    limit.shorten(0.01)
    for task in tasks:
        with pytest.raises(TimeoutError):
            await task
    limit.shorten(LONG_S)
    with pytest.raises(TimeoutError):
        await waits(limit, asyncio.Event().wait())
