"""The server of the store dies under load, and its successor is found by sentinels or by the
cluster: limits stay exact, no request_id is lost or carried out twice, and streams go on.
"""

import asyncio
import contextlib
import signal
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
            ended = await create(world, number, request_id=f"r-{number}")
            if ended.reason not in WORTH_REPEATING | {"DEADLINE_EXCEEDED"}:
                return ended
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failover_under_load_keeps_limits_request_ids_and_streams(tmp_path, kind):
    most, ids = often(8, 200), often(16, 400)
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


async def test_a_change_of_which_no_replica_knows_is_not_sent(tmp_path):
    """Else a failover would forget its request_id, and a repeat would carry it out twice."""
    async with (
        store_of("sentinel", tmp_path / "store") as (servers, primary),
        running_fleet(tmp_path, servers, 1, state={"timeout_s": 1}) as fleet,
    ):
        (world,) = fleet.worlds
        first = await final(world, 0)
        for replica in servers.servers[1:]:
            replica.signal(signal.SIGSTOP)
        refused = await create(world, 1, request_id="r-1")
        primary.kill()
        for replica in servers.servers[1:]:
            replica.signal(signal.SIGCONT)
        assert refused.reason == "QUOTA_STORE_DOWN"
        assert len(posts(world)) == 1
        assert (await final(world, 1)).reason == "OK"
        assert (await final(world, 0)).response == first.response
        assert created(world) == Counter(["vault-0", "vault-1"])


@pytest.mark.skipif(not SOAK, reason="waits for the lease of a gateway that died")
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_gateway_left_that_died_with_the_primary_is_taken_over(tmp_path, kind):
    async with (
        store_of(kind, tmp_path / "store") as (servers, primary),
        running_fleet(
            tmp_path, servers, 2, limit("vaults", "tenant", 1), dying=["before_commit"]
        ) as fleet,
    ):
        died, alive = fleet.worlds
        gone = await create(died, 0, request_id="r-0", within_s=10)
        assert gone.reason != "OK"
        primary.kill()
        taken_over = await final(alive, 0)
        assert taken_over.reason == "OK"
        assert (await final(alive, 1)).reason == "RESOURCE_COUNT_LIMIT"
        assert len(posts(alive, committed=True)) == 1
        await agreed(alive)
