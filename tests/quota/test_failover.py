"""The server of the store dies under load, and its successor is found by sentinels or by the
cluster: limits stay exact, no request_id is lost or carried out twice, and streams go on.
"""

import asyncio
import contextlib
from collections import Counter

import pytest

from tests.quota.fleet import WORTH_REPEATING, create, running_fleet
from tests.quota.oracle import agreed, created
from tests.quota.scenes import SOAK, limit, often, posts
from tests.state.cluster import running_cluster
from tests.state.sentinels import running_set
from tests.watch.streams import end_task, start_task, watching

pytestmark = pytest.mark.timeout(900 if SOAK else 300)
KINDS = ("sentinel", "cluster")


@contextlib.asynccontextmanager
async def store_of(kind, folder):
    """Servers, and which of them dies."""
    folder.mkdir()
    if kind == "sentinel":
        async with running_set(folder) as servers:
            yield servers, servers.primary
    else:
        async with running_cluster(folder, replicas=True) as servers:
            yield servers, servers.own


async def final(world, number):
    """What a change ends with that is repeated until it has an answer."""
    async with asyncio.timeout(120):
        while True:
            ended = await create(world, number, request_id=f"r-{number}", within_s=10)
            if ended.reason not in WORTH_REPEATING:
                return ended
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failover_under_load_keeps_limits_request_ids_and_streams(tmp_path, kind):
    most, ids = often(16, 200), often(32, 400)
    async with (
        store_of(kind, tmp_path / "store") as (servers, primary),
        running_fleet(
            tmp_path, servers, 2, limit("vaults", "tenant", most), state={"timeout_s": 1}
        ) as fleet,
        watching(fleet.worlds[1]) as stream,
    ):
        await stream.until("snapshot_end")
        places, ended = asyncio.Semaphore(8), {}

        async def one(number):
            async with places:
                ended[number] = await final(fleet.worlds[number % 2], number)
                if len(ended) == most // 2:
                    primary.kill()

        await asyncio.gather(*map(one, range(ids)))
        assert Counter(each.reason for each in ended.values()) == {
            "OK": most,
            "RESOURCE_COUNT_LIMIT": ids - most,
        }
        worlds = fleet.worlds
        assert len(posts(worlds[0], committed=True)) == len(created(worlds[0])) == most
        # Each answer is given again, by the other gateway.
        for number, first in ended.items():
            if first.reason == "OK":
                again = await final(worlds[(number + 1) % 2], number)
                assert (again.response, again.trailers["replayed"]) == (first.response, "true")
        assert len(posts(worlds[0])) == most
        task = start_task(worlds[0])
        end_task(worlds[0], task)
        await stream.until("terminal")
        assert task.id in stream.tasks("terminal")
        await agreed(worlds[0])
