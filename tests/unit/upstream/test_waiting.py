"""Waits that are ended from outside."""

import asyncio

import pytest

from gateway.upstream.waiting import Waits


class EndedError(Exception):
    pass


async def wait_in(waits):
    with waits.begin(EndedError):
        await asyncio.sleep(20)


async def test_all_waits_are_ended_at_once_and_say_why():
    waits = Waits()
    calls = [asyncio.create_task(wait_in(waits)) for _ in range(3)]
    await asyncio.sleep(0)
    waits.end()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [EndedError] * 3


async def test_a_wait_that_is_over_is_not_ended():
    waits = Waits()

    async def short():
        with waits.begin(EndedError):
            await asyncio.sleep(0)
        waits.end()
        await asyncio.sleep(0)
        return "done"

    assert await asyncio.create_task(short()) == "done"


async def test_a_caller_who_leaves_is_cancelled_also_when_the_wait_is_ended_meanwhile():
    waits = Waits()
    for steps in ([], [waits.end]):
        call = asyncio.create_task(wait_in(waits))
        await asyncio.sleep(0)
        call.cancel()
        for step in steps:
            step()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_an_error_inside_stays_what_it_is():
    waits = Waits()
    with pytest.raises(KeyError), waits.begin(EndedError):
        raise KeyError
