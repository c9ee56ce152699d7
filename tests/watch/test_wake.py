"""What wakes one stream."""

import asyncio

import pytest

from gateway.watch.wake import Wake


async def waiting(wake):
    task = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    return task


async def test_who_waits_is_woken_once_it_is_set_however_often():
    wake = Wake()
    task = await waiting(wake)
    assert not task.done()
    wake.set()
    wake.set()
    await task
    await wake.wait()
    wake.clear()
    task = await waiting(wake)
    assert not task.done()
    wake.set()
    wake.clear()
    await task


async def test_who_leaves_makes_room_for_the_next():
    wake = Wake()
    task = await waiting(wake)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wake.set()
    wake.clear()
    task = await waiting(wake)
    wake.set()
    await task
