"""A Valkey that is found through its sentinels: followed when another server becomes the primary,
and told what is wrong where none is found.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import pytest

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import (
    Admitted,
    Charge,
    Refused,
    Store,
    StoreDown,
    StoreSettings,
    WrongStore,
    open_store,
)
from gateway.state.valkey import problem_with
from testkit.ports import free_port
from tests.functional.calls import until
from tests.state.benches import operation
from tests.state.sentinels import NAME, SentinelSet, running_set


@pytest.fixture
async def servers(tmp_path) -> AsyncIterator[SentinelSet]:
    async with running_set(tmp_path) as running:
        yield running


def settings(url: str, **more) -> StoreSettings:
    return StoreSettings(kind="valkey", url=Secret(url), **{"timeout_s": 5, **more})


@contextlib.asynccontextmanager
async def opened(url: str, **more) -> AsyncIterator[Store]:
    async with open_store(settings(url, **more), SystemClock()) as store:
        yield store


async def until_answers(store: Store) -> str:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(StoreDown):
                return await store.life.epoch()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_primary_that_dies_or_hangs_is_followed_by_its_successor(servers, end):
    async with opened(servers.url, timeout_s=1) as store:
        before = await store.life.epoch()
        assert await store.operations.begin(operation("one", Charge("vaults", 1, 2))) == Admitted()
        assert await store.operations.sent("one")
        servers.primary.signal(end)
        try:
            assert await until_answers(store) != before
            # What was said to be sent is known to the successor.
            assert (await store.operations.get("one")).state == "SENT"
            two, three = (operation(name, Charge("vaults", 1, 2)) for name in ("two", "three"))
            assert await store.operations.begin(two) == Admitted()
            assert isinstance(await store.operations.begin(three), Refused)
        finally:
            servers.primary.signal(signal.SIGCONT) if end is signal.SIGSTOP else None


async def test_a_failover_by_its_operator_is_followed_though_the_old_server_goes_on(servers):
    async with opened(servers.url) as store:
        before = await store.life.epoch()
        ask = f"SENTINEL FAILOVER {NAME}"
        await until(lambda: servers.sentinels[0].command(ask).startswith(b"+OK"), 30)
        await until(lambda: b"role:slave" in servers.command("INFO replication", most=10_000), 30)
        assert await until_answers(store) != before
        assert await store.operations.begin(operation()) == Admitted()


async def test_sentinels_that_are_gone_or_hang_are_done_without(servers):
    servers.sentinels[0].kill()
    servers.sentinels[1].signal(signal.SIGSTOP)
    async with opened(servers.url) as store:
        assert await store.operations.begin(operation()) == Admitted()
        servers.sentinels[1].signal(signal.SIGCONT)


async def test_a_change_that_no_replica_has_is_not_sent(servers):
    async with (
        opened(servers.url, timeout_s=2) as store,
        opened(servers.url, copies=0) as other,
    ):
        assert await store.operations.begin(operation("one")) == Admitted()
        assert await other.operations.begin(operation("two")) == Admitted()
        for replica in servers.servers[1:]:
            replica.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreDown, match=r"NOREPLICAS: .* lower .*state\.copies"):
                await store.operations.sent("one")
            with pytest.raises(StoreDown, match="NOREPLICAS"):
                await store.overrides.put("limit", b"1")
            assert await other.operations.sent("two")
        finally:
            for replica in servers.servers[1:]:
                replica.signal(signal.SIGCONT)
        await until_sent(store, "one")
        # Also by a server that does not know the script yet.
        servers.command("SCRIPT FLUSH")
        await store.overrides.put("limit", b"1")


async def test_an_old_primary_without_replicas_does_not_have_the_last_word(servers):
    """It goes on serving, since nobody could tell it that another one has its place."""
    old, new, replica = servers.servers
    async with opened(servers.url) as store:
        assert await store.operations.begin(operation("one")) == Admitted()
        assert new.command("REPLICAOF NO ONE").startswith(b"+OK")
        assert replica.command(f"REPLICAOF 127.0.0.1 {new.port}").startswith(b"+OK")
        await until(lambda: b"connected_slaves:0" in old.command("INFO replication", most=10_000))
        for sentinel in servers.sentinels:
            assert sentinel.command(f"SENTINEL REMOVE {NAME}").startswith(b"+OK")
            watch = f"SENTINEL MONITOR {NAME} 127.0.0.1 {new.port} 2"
            assert sentinel.command(watch).startswith(b"+OK")
        with pytest.raises(StoreDown, match="READONLY"):
            await store.operations.sent("one")


async def test_without_any_replica_changes_go_on(servers):
    for replica in servers.servers[1:]:
        replica.kill()
    async with opened(servers.url) as store:
        await until(
            lambda: b"connected_slaves:0" in servers.command("INFO replication", most=10_000)
        )
        assert await store.operations.begin(operation("one")) == Admitted()
        assert await store.operations.sent("one")


async def until_sent(store: Store, op_id: str) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(StoreDown):
                assert await store.operations.sent(op_id)
                return
            await asyncio.sleep(0.05)


async def test_a_set_that_nobody_watches_and_servers_that_are_no_sentinels_are_told(servers):
    wrong = {
        servers.url.replace(NAME, "other"): "watch no set of the name",
        servers.url.replace(str(servers.sentinels[0].port), str(servers.primary.port)).partition(
            ","
        )[0]
        + f"/{NAME}": "names servers as sentinels that are none",
        f"valkey+cluster://127.0.0.1:{servers.primary.port}": "nodes of a cluster that are none",
        f"valkey://127.0.0.1:{servers.sentinels[0].port}": "valkey.sentinel://",
    }
    for url, told in wrong.items():
        assert told.replace(".", "+") in await problem_with(settings(url))
    for url in list(wrong)[:3]:
        with pytest.raises(WrongStore):
            async with opened(url):
                pass


async def test_sentinels_that_do_not_run_yet_are_waited_for():
    url = f"valkey+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/{NAME}"
    async with opened(url) as store:
        with pytest.raises(StoreDown, match=r"none of the sentinels .* answers"):
            await store.operations.begin(operation())


async def test_each_has_users_of_its_own(servers):
    """Sentinels that let nobody in without a password, and the rights that are enough."""
    server_user = "ACL SETUSER gateway on >of-servers ~{cbrgw}* resetchannels -@all"
    rights = "+@read +@write +@scripting +@connection +info +time +role +wait -flushall -flushdb"
    for server in servers.servers:
        assert server.command(f"{server_user} {rights}").startswith(b"+OK")
    user = "ACL SETUSER asking on >of-sentinels resetchannels -@all +sentinel|master +@connection"
    for sentinel in servers.sentinels:
        assert sentinel.command(user).startswith(b"+OK")
        assert sentinel.command("ACL SETUSER default -@all +auth").startswith(b"+OK")
    both = servers.url_of(
        "redis",
        "gateway:of-servers@",
        "?sentinel_username=asking&sentinel_password=of-sentinels",
    )
    assert await problem_with(settings(both)) == ""
    async with opened(both) as store:
        assert await store.operations.begin(operation("one")) == Admitted()
        assert await store.operations.sent("one")
        await store.channel.publish("tasks", b"x")
        assert await store.channel.heard({"tasks": "0"})
    problem = await problem_with(settings(servers.url_of("redis", "gateway:of-servers@")))
    assert "the sentinels of the shared store answer NOPERM" in problem
    assert "put sentinel_username and sentinel_password into state.url" in problem
