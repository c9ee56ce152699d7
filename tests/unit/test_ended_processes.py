"""How the end of a worker, or of the store's owner, is told."""

import asyncio
import sys

import pytest
import structlog

from gateway.workers.child import Ended, Keeper, NotStarted, end_of


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.kill(os.getpid(), 9)", "it was killed by SIGKILL, perhaps by the system"),
        ("os.kill(os.getpid(), 11)", "it was killed by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "it was killed by signal 40"),
        ("sys.exit(3)", "it ended with exit code 3"),
        ("pass", "it ended with exit code 0"),
    ],
)
async def test_the_log_says_how_a_process_ended(does, told):
    keeper = Keeper("worker 1")

    async def once():
        keeper.ending = keeper.replaced > 0
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"import os, sys; {does}"
        )
        await process.wait()
        return Ended(end_of(process.returncode), None)

    with structlog.testing.capture_logs() as said:
        await keeper.run(once)
    assert [each["cause"][: len(told)] for each in said] == [told]


async def test_a_first_process_that_does_not_come_to_its_work_is_told_by_its_reason():
    async def once():
        return Ended("it ended with exit code 1", "the port is taken")

    with pytest.raises(NotStarted, match="the port is taken"):
        await Keeper("worker 1").run(once)
