"""Threads that wait for the event loop."""

import asyncio

import pytest

from gateway.background import in_background, on_loop


async def test_who_waits_for_work_on_a_loop_that_ends_is_told_in_one_way():
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    working: list[asyncio.Task[None] | None] = []

    async def work() -> None:
        working.append(asyncio.current_task())
        begun.set()
        await asyncio.Event().wait()

    asking = asyncio.create_task(in_background(lambda: on_loop(loop, work(), 60)))
    await begun.wait()
    # As the loop's runner does at its end.
    working[0].cancel()
    with pytest.raises(TimeoutError, match="the process is ending"):
        await asking
