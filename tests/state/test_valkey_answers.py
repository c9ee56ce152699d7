"""A Valkey that answers "I cannot": told as what it is, left for whatever has its address by now,
and used again as soon as it can.
"""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import (
    Admitted,
    Bucket,
    Charge,
    Refused,
    Store,
    StoreDown,
    StoreSettings,
    WrongStore,
    open_store,
    valkey,
    valkey_pool,
    valkey_rules,
)
from gateway.state.valkey import problem_with
from gateway.state.valkey_rules import RULES, rule_of
from testkit.ports import free_port
from tests.functional.calls import until
from tests.quota.fleet import create, until_ok
from tests.quota.scenes import gateway, limit
from tests.state.address import Address
from tests.state.benches import operation
from tests.state.valkey_server import ValkeyProcess, running_valkey


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(url), timeout_s=5), SystemClock()
    ) as store:
        yield store


async def refused_as(store: Store, answer: str) -> None:
    """Each kind of call, with many connections, is told what the server answers and what to do;
    rates go on.
    """
    calls = [store.operations.begin(operation()) for _ in range(5)]
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(each) for each in told} == {StoreDown}
    for each in told:
        assert str(each) == f"the shared store answers {answer}: {RULES[answer]}"
    assert (await store.rates.take([Bucket("calls", 0.01, 5)])).allowed


async def works_again(store: Store) -> None:
    async def begun() -> bool:
        with contextlib.suppress(StoreDown):
            await store.life.epoch()
            return await store.operations.begin(operation()) == Admitted()
        return False

    async with asyncio.timeout(15):
        while not await begun():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)


STATES = {
    "READONLY": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "MASTERDOWN": (
        ["REPLICAOF 127.0.0.1 1", "CONFIG SET replica-serve-stale-data no"],
        ["REPLICAOF NO ONE"],
    ),
    "NOREPLICAS": (["CONFIG SET min-replicas-to-write 1"], ["CONFIG SET min-replicas-to-write 0"]),
    "OOM": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
    "NOPERM": (["ACL SETUSER default -eval -evalsha"], ["ACL SETUSER default +@all"]),
}


@pytest.mark.parametrize("answer", STATES)
async def test_what_a_server_cannot_do_is_told_until_it_can(tmp_path, answer):
    wrong, right = STATES[answer]
    with running_valkey(tmp_path) as server:
        async with opened(server.url) as store:
            assert await store.operations.begin(operation()) == Admitted()
            for command in wrong:
                assert server.command(command).startswith(b"+OK")
            await refused_as(store, answer)
            settings = StoreSettings(kind="valkey", url=Secret(server.url), timeout_s=5)
            assert f"answers {answer}: {RULES[answer]}" in await problem_with(settings)
            for command in right:
                assert server.command(command).startswith(b"+OK")
            await works_again(store)
            held = server.command("DBSIZE")
            assert await problem_with(settings) == ""
            assert server.command("DBSIZE") == held


async def test_a_server_that_cannot_write_to_its_disk(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    with running_valkey(folder) as server:
        async with opened(server.url) as store:
            assert await store.operations.begin(operation()) == Admitted()
            shutil.rmtree(folder)
            assert server.command('CONFIG SET save "3600 1"').startswith(b"+OK")
            server.command("BGSAVE")
            await until(
                lambda: (
                    b"rdb_last_bgsave_status:err" in server.command("INFO persistence", most=10_000)
                )
            )
            await refused_as(store, "MISCONF")
            assert server.command("CONFIG SET stop-writes-on-bgsave-error no").startswith(b"+OK")
            await works_again(store)


@pytest.mark.parametrize(("answer", "user"), [("NOAUTH", ""), ("WRONGPASS", ":wrong@")])
async def test_a_server_whose_password_was_changed(tmp_path, monkeypatch, answer, user):
    monkeypatch.setattr(valkey_pool, "_AGE_S", 0.2)
    with running_valkey(tmp_path) as server:
        assert server.command("CONFIG SET requirepass wrong").startswith(b"+OK") if user else True
        async with opened(server.url.replace("//", f"//{user}")) as store:
            assert await store.operations.begin(operation()) == Admitted()
            server.command(
                *(
                    ["AUTH wrong\r\nCONFIG SET requirepass right"]
                    if user
                    else ["CONFIG SET requirepass right"]
                )
            )
            # Connections that were let in stay so; no new one is.
            await asyncio.sleep(0.3)
            await refused_as(store, answer)
            server.command(
                "AUTH right\r\nCONFIG SET requirepass wrong"
                if user
                else 'AUTH right\r\nCONFIG SET requirepass ""'
            )
            await works_again(store)


async def test_a_server_that_drops_keys_is_refused_at_the_start_and_by_check(tmp_path):
    with running_valkey(tmp_path) as server:
        settings = StoreSettings(kind="valkey", url=Secret(server.url))
        async with Redis.from_url(server.url) as operator:
            await operator.config_set("maxmemory-policy", "allkeys-lru")
            # Without a bound nothing is dropped.
            assert await problem_with(settings) == ""
            await operator.config_set("maxmemory", "64mb")
            with pytest.raises(WrongStore, match="Set maxmemory-policy to noeviction") as refused:
                async with opened(server.url):
                    pass
            assert str(refused.value) == await problem_with(settings)
            await operator.config_set("maxmemory-policy", "noeviction")
            async with opened(server.url) as store:
                await works_again(store)


async def test_a_server_that_begins_to_drop_keys_is_not_trusted_until_it_stops(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(valkey, "_LOOK_S", 0.0)
    with running_valkey(tmp_path) as server:
        async with opened(server.url) as store, Redis.from_url(server.url) as operator:
            await works_again(store)
            await operator.config_set("maxmemory", "64mb")
            await operator.config_set("maxmemory-policy", "allkeys-lru")
            for use in (store.life.epoch, lambda: store.operations.begin(operation())):
                with pytest.raises(StoreDown, match="Set maxmemory-policy to noeviction"):
                    await use()
            await operator.config_set("maxmemory-policy", "noeviction")
            await works_again(store)


async def test_a_server_that_runs_somebody_elses_script(tmp_path):
    with (
        running_valkey(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port)) as link,
    ):
        async with opened(server.url) as store:
            assert server.command("CONFIG SET busy-reply-threshold 50").startswith(b"+OK")
            link.sendall(b"*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n")
            await asyncio.sleep(0.3)
            await refused_as(store, "BUSY")
            assert server.command("SCRIPT KILL").startswith(b"+OK")
            await works_again(store)


async def test_a_server_that_reads_its_data(tmp_path):
    with running_valkey(tmp_path, durable=True) as server:
        async with opened(server.url) as store:
            with socket.create_connection(("127.0.0.1", server.port)) as link:
                link.sendall(
                    b"".join(b"SET filler:%d x\r\n" % number for number in range(2500))
                    + b"PING\r\n"
                )
                while b"PONG" not in link.recv(65536):
                    pass
            server.end()
            starting = asyncio.create_task(
                asyncio.to_thread(server.start, "--key-load-delay", "1000")
            )
            seen = set()
            while not starting.done():
                try:
                    await store.counters.fence()
                except StoreDown as down:
                    seen.add(str(down))
                await asyncio.sleep(0.02)
            await starting
            assert f"the shared store answers LOADING: {RULES['LOADING']}" in seen
            await works_again(store)


async def test_a_node_of_a_cluster_that_does_not_serve(tmp_path):
    server = ValkeyProcess(tmp_path)
    try:
        server.start("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        async with opened(server.url) as store:
            await refused_as(store, "CLUSTERDOWN")
            assert server.command("CLUSTER ADDSLOTSRANGE 0 16383").startswith(b"+OK")
            await works_again(store)
    finally:
        server.kill()


async def test_a_server_without_the_scripts_is_told_them_again_within_the_call(tmp_path):
    with running_valkey(tmp_path) as server:
        async with opened(server.url) as store:
            for _ in range(2):
                assert server.command("SCRIPT FLUSH").startswith(b"+OK")
                begun = await asyncio.gather(
                    *(
                        store.operations.begin(operation("", Charge("vaults", 1, None)))
                        for _ in range(10)
                    )
                )
                assert begun == [Admitted()] * 10
            assert (await store.counters.usage(["vaults"]))["vaults"].reserved == 20


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", "MISCONF"),
        (
            (
                "Command # 1 (SET k v) of pipeline caused error: ('NOREPLICAS Not enough good"
                " replicas to write.',)"
            ),
            "NOREPLICAS",
        ),
        (
            (
                "Error running script (call to f_1): @user_script:1: -OOM command not allowed when"
                " used memory > 'maxmemory'."
            ),
            "OOM",
        ),
        ("UNKILLABLE Sorry the script already executed write commands", "UNKILLABLE"),
        ("max number of clients reached", "max number of clients reached"),
        ("unknown command 'XADD', with args beginning with: ", "unknown command"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
        ("ERR value is not an integer or out of range", None),
    ],
)
def test_answers_are_known_in_whatever_they_are_wrapped(text, answer):
    found = rule_of(ResponseError(text))
    assert (found and found[0]) == answer


def test_every_answer_says_what_to_do_also_on_the_page_for_operators():
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    for answer, rule in RULES.items():
        assert rule.advice or rule.then in {valkey_rules.Then.WAIT, valkey_rules.Then.TEACH}
        assert f"| `{answer}` | {rule.means} | {rule.advice or rule.then.value} |" in page


# The address leads elsewhere
# --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def pair(tmp_path: Path) -> AsyncIterator[tuple[ValkeyProcess, ValkeyProcess, Address]]:
    """A primary at an address, and its replica."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with running_valkey(tmp_path / "a") as first, running_valkey(tmp_path / "b") as second:
        assert first.command("CONFIG SET repl-diskless-sync-delay 0").startswith(b"+OK")
        assert second.command(f"REPLICAOF 127.0.0.1 {first.port}").startswith(b"+OK")
        await until(
            lambda: b"master_link_status:up" in second.command("INFO replication", most=10_000), 30
        )
        async with Address(first.port).listening() as address:
            yield first, second, address


def promoted(
    first: ValkeyProcess, second: ValkeyProcess, address: Address, *, demote: bool
) -> None:
    assert second.command("REPLICAOF NO ONE").startswith(b"+OK")
    if demote:
        assert first.command(f"REPLICAOF 127.0.0.1 {second.port}").startswith(b"+OK")
    address.leads_to = second.port


async def begun(store: Store, count: int = 30) -> list[object]:
    return await asyncio.gather(
        *(store.operations.begin(operation()) for _ in range(count)), return_exceptions=True
    )


async def test_after_a_failover_by_address_the_old_server_is_left_at_once(tmp_path):
    async with pair(tmp_path) as (first, second, address), opened(address.url) as store:
        await store.operations.begin(operation("one", Charge("vaults", 1, 1), request_id="r"))
        # Every connection of the pool is there and in use.
        assert await begun(store) == [Admitted()] * 30
        await until(lambda: b"one" in second.command("KEYS *operation:one"))
        promoted(first, second, address, demote=True)
        assert {type(each) for each in await begun(store)} == {StoreDown}
        # All of them are given up with the first answer, in use or not.
        assert await begun(store) == [Admitted()] * 30
        assert isinstance(
            await store.operations.begin(operation("two", Charge("vaults", 1, 1))), Refused
        )


async def test_an_old_server_that_goes_on_serving_is_left_soon(tmp_path, monkeypatch):
    """Nothing that it answers tells that another one has its place."""
    monkeypatch.setattr(valkey_pool, "_AGE_S", 0.5)
    async with pair(tmp_path) as (first, second, address), opened(address.url) as store:
        before = await store.life.epoch()
        await begun(store)
        promoted(first, second, address, demote=False)
        await asyncio.sleep(0.6)
        assert await begun(store) == [Admitted()] * 30
        assert await store.life.epoch() != before
        reached = int(second.command("ZCARD {cbrgw}:open")[1:].split(b"\r\n")[0])
        assert reached == 60


async def test_a_gateway_follows_its_store_and_lets_nothing_grow_twice(tmp_path):
    async with pair(tmp_path) as (first, second, address):
        url = tmp_path / "url"
        url.write_text(address.url)
        url.chmod(0o600)
        sections = {"state": {"kind": "valkey", "url": {"file": str(url)}, "timeout_s": 5}}
        async with gateway(limit("vaults", "tenant", 3), sections=sections) as world:
            made = await until_ok(world, 1, request_id="r-1")
            await until(lambda: b"r-1" in second.command("KEYS *r-1*"))
            # Replication stops unseen: of the next one the new primary will know nothing.
            assert second.command("REPLICAOF NO ONE").startswith(b"+OK")
            assert (await create(world, 2)).reason == "OK"
            promoted(first, second, address, demote=True)
            await until_ok(world, 3)
            assert (await create(world, 4)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
            again = await create(world, 1, request_id="r-1")
            assert (again.reason, again.response) == ("OK", made.response)
            assert len(world.emulator.state.world.vaults) == 3
