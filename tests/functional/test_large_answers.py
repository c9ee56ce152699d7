"""Large answers, and hostile ones: the event loop goes on while they are read. Counted, not timed:
how much is read between two of its turns.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway.upstream import reading
from gateway.upstream.http import MAX_BODY_BYTES
from tests.functional.calls import Failure, forget, gateway_before
from tests.functional.test_hostile_upstream import GOOD, Liar, bomb
from tests.unit.upstream.raw_server import answer, raw_server

LIST, GET = "VaultService/ListVaults", "VaultService/GetVault"
ROW = {**GOOD, "description": "d" * 600}
MANY_KEYS = {f"{number:06}": 1 for number in range(150_000)}
"""More members, and more bytes, than are read of one answer."""


def compact(document) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    assert len(text) < MAX_BODY_BYTES, "more would not be looked at"
    return text


@dataclass
class Turns:
    """`read`: the size of each document that was read, and in which turn of the event loop."""

    number: int = 0
    read: list[tuple[int, int]] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            self.number += 1
            await asyncio.sleep(0)

    def most_at_once(self) -> int:
        turns = [turn for turn, _ in self.read]
        assert len(set(turns)) == len(turns), "two documents in one turn"
        return max(size for _, size in self.read)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    found, judge = Turns(), reading.judge

    def counting(response, **more):
        found.read.append((found.number, len(response.body)))
        return judge(response, **more)

    monkeypatch.setattr(reading, "judge", counting)
    return found


@pytest.fixture(scope="module")
async def shared_liar():
    liar = Liar()
    async with raw_server(liar) as upstream, gateway_before(upstream.origin) as (app, anyone):
        yield liar, app, anyone


@contextlib.asynccontextmanager
async def ticking(turns: Turns):
    task = asyncio.create_task(turns.run())
    try:
        yield
    finally:
        task.cancel()


@pytest.fixture
def asked(shared_liar, turns):
    """Asks for something that is answered with this document."""
    liar, app, anyone = shared_liar
    forget(app)

    async def ask(rpc, fields, document, headers=""):
        text = document if isinstance(document, bytes) else compact(document)
        liar.content = answer(text, headers=headers)
        async with ticking(turns):
            return await anyone(rpc, fields, timeout_s=60)

    return ask


def rows(count: int) -> list[dict[str, object]]:
    return [{**ROW, "id": f"v{number}"} for number in range(count)]


async def test_a_large_list_is_read_in_parts(asked, turns):
    """Its rows come in order, and what stands beside them with them."""
    shown = rows(6000)
    shown[1234] = {"name": "without an id"}
    document = {"vaults": shown, "count": 6000, "offset": 0, "limit": 1000}
    page = await asked(LIST, {"page_size": 200}, document)
    assert [row.id for row in page.vaults] == [f"v{number}" for number in range(200)]
    assert page.total_size == 6000
    assert turns.most_at_once() <= reading.LARGE_BYTES / 2
    assert sum(size for _, size in turns.read) > 3_500_000


async def test_a_large_list_is_read_as_a_small_one_is(asked, turns, monkeypatch):
    shown = rows(700)
    shown[300] = {"name": "without an id"}
    shown[301] |= {"new_member": {"a": [1, None]}, "billing": {"size": "many"}}
    document = {"vaults": shown, "count": 700, "new": {"x": 1}}
    in_parts = await asked(LIST, {"page_size": 200, "page_token": ""}, document)
    assert len(turns.read) > 3
    monkeypatch.setattr("gateway.upstream.attempt.reading.LARGE_BYTES", 2**30)
    at_once = await asked(LIST, {"page_size": 200, "page_token": ""}, document)
    assert in_parts.vaults == at_once.vaults
    assert in_parts.unreadable_rows == at_once.unreadable_rows
    assert in_parts.total_size == at_once.total_size


HOSTILE = {
    "many rows": (LIST, lambda: {"vaults": [{"id": f"{number:06}"} for number in range(20_000)]}),
    "many keys beside the rows": (LIST, lambda: {"vaults": [], **MANY_KEYS}),
    "many keys": (GET, lambda: {"vault": GOOD, **MANY_KEYS}),
    "many keys of one object": (GET, lambda: {"vault": GOOD | MANY_KEYS}),
    "many keys, and the rows twice": (
        LIST,
        lambda: compact({"vaults": [MANY_KEYS]})[:-1] + b',"vaults":[{}]}',
    ),
}
"""Made when they are sent: whoever collects the tests imports this."""


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_would_take_long_is_not_read(asked, turns, name):
    rpc, made = HOSTILE[name]
    failed = await asked(rpc, {} if rpc == LIST else {"vault_id": "v"}, made())
    assert isinstance(failed, Failure)
    assert (failed.code, failed.reason) == ("INTERNAL", "UPSTREAM_PROTOCOL")
    assert all(size <= reading.LARGE_BYTES for _, size in turns.read)


async def test_a_row_with_many_keys_costs_itself(asked, turns):
    page = await asked(LIST, {}, {"vaults": [ROW, MANY_KEYS, {**ROW, "id": "w"}]})
    assert ([row.id for row in page.vaults], page.unreadable_rows) == (["v", "w"], 1)
    assert turns.most_at_once() <= reading.LARGE_BYTES


async def test_a_large_error_is_not_read(asked, turns, shared_liar):
    failed = await asked(GET, {"vault_id": "v"}, {"error_code": "BackupService.6001", **MANY_KEYS})
    assert isinstance(failed, Failure)


async def test_a_bomb_is_not_inflated(asked, turns):
    failed = await asked(LIST, {}, bomb(b'{"vaults":[],"a":"'), "Content-Encoding: gzip\r\n")
    assert isinstance(failed, Failure)
    assert turns.read == []
