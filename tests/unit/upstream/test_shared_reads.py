"""Who asks together is answered together, and nobody by what was read before they asked."""

import asyncio

import pytest
from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError
from gateway.upstream.shared_reads import SharedReads


class Source:
    """Answers its reads, counted from 1, when it is told to."""

    def __init__(self):
        self.shared = SharedReads()
        self.reads = []

    def ask(self, what="list"):
        return asyncio.create_task(self.shared.answer(what, self.read))

    async def read(self):
        self.reads.append(asyncio.get_running_loop().create_future())
        number = len(self.reads)
        await self.reads[-1]
        return number

    async def settle(self, number, failure=None):
        if failure is None:
            self.reads[number - 1].set_result(None)
        else:
            self.reads[number - 1].set_exception(failure)
        await turns()


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_while_one_is_read_gets_the_next_and_all_of_them_the_same():
    source = Source()
    first = source.ask()
    await turns()
    others = [source.ask() for _ in range(100)]
    await source.settle(1)
    assert await first == 1
    await source.settle(2)
    assert set(await asyncio.gather(*others)) == {2}
    assert len(source.reads) == 2
    assert not source.shared._reads


async def test_other_things_are_read_at_the_same_time():
    source = Source()
    asked = [source.ask(what) for what in "ab"]
    await turns()
    assert len(source.reads) == 2
    await source.settle(2)
    await source.settle(1)
    assert await asyncio.gather(*asked) == [1, 2]


async def test_a_failure_is_told_to_all_who_waited_for_the_read_and_to_no_later_one():
    source = Source()
    first = source.ask()
    await turns()
    others = [source.ask() for _ in range(3)]
    await source.settle(1)
    later = source.ask()
    await source.settle(2, GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_UNAVAILABLE, "text"))
    await source.settle(3)
    assert await first == 1
    for each in others:
        with pytest.raises(GatewayError):
            await each
    assert await later == 3


async def test_who_goes_away_takes_nothing_from_the_others():
    source = Source()
    first, second = source.ask(), source.ask()
    await turns()
    first.cancel()
    await turns()
    await source.settle(2)
    assert await second == 2
    assert not source.shared._reads
