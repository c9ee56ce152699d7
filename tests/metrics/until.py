"""Waiting for what has to be asked for."""

import asyncio


async def until_true(true, within_s=60.0):
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
