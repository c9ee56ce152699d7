"""A start of a gateway with workers that comes to an end: nothing waits for what will never be."""

import asyncio

import pytest

from gateway.secret import Secret
from gateway.workers import store_owner
from gateway.workers.child import NotStarted
from gateway.workers.crew import Crew
from gateway.workers.fork_server import ForkServer
from gateway.workers.part import Part, modules_of
from gateway.workers.store_owner import StoreOwner
from tests.functional.calls import until
from tests.harness import config_for

HOUR_S = 3600


async def test_workers_that_wait_for_their_turn_to_begin_end_at_once(tmp_path):
    config = config_for("http://127.0.0.1:1")
    forks, no_store = ForkServer(modules_of(config)), asyncio.Event()
    parts = [Part(n, 2, "127.0.0.1:0", None, tmp_path / "store.sock", Secret("k")) for n in (1, 2)]
    crew = Crew(parts, forks, (config, {}), 5, no_store)
    async with forks.running(), crew.running():
        await until(lambda: all(place.alive for place in crew.places))
        await crew.drain(asyncio.Event(), HOUR_S)
        assert not any(place.alive for place in crew.places)


async def test_an_owner_that_was_never_started_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(store_owner, "_END_S", HOUR_S)
    owner = StoreOwner(config_for("http://127.0.0.1:1"), tmp_path, ForkServer([]))
    async with owner.running():
        # It waits for the fork server now.
        await asyncio.sleep(0)


async def test_why_a_worker_cannot_start_is_told_in_its_own_words(tmp_path):
    (tmp_path / "audit").touch()
    audit = {"directory": str(tmp_path / "audit"), "key": {"file": str(key_in(tmp_path))}}
    config = config_for("http://127.0.0.1:1", {"audit": audit})
    forks, begin = ForkServer(modules_of(config)), asyncio.Event()
    part = Part(1, 1, "127.0.0.1:0", None, None, Secret("k" * 64))
    begin.set()
    async with forks.running(), Crew([part], forks, (config, {}), 5, begin).running() as keeping:
        with pytest.raises(NotStarted, match=r"audit\.directory .* cannot be used"):
            await keeping


def key_in(folder):
    key = folder / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    key.chmod(0o600)
    return key


async def test_a_python_that_cannot_be_started_is_told(monkeypatch):
    monkeypatch.setattr("sys.executable", "/no/such/python")
    async with ForkServer([]).running() as keeping:
        with pytest.raises(NotStarted, match=r"needs /no/such/python .*No such file"):
            await keeping
