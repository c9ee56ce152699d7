"""Replicas that share a Valkey: one of them delivers, and another one goes on where it ends."""

import contextlib
import signal

import pytest

from gateway.clock import SystemClock
from gateway.events.running import Events
from gateway.limits.limits import Limits
from gateway.state import open_store
from tests.events.receiver import receiving
from tests.events.scenes import settings
from tests.events.test_delivery import event
from tests.functional.calls import until
from tests.state.benches import settings_for
from tests.state.valkey_server import running_valkey


@pytest.fixture
async def receiver(tmp_path):
    async with receiving(tmp_path) as receiver:
        yield receiver


@contextlib.asynccontextmanager
async def replica(receiver, shared):
    """One of those that share a store; `stop` ends it as a process that is killed does."""
    async with open_store(shared, SystemClock()) as store:
        events = Events(settings(receiver, receiver.sink(timeout_s=1)), store, SystemClock())
        async with events.running(lambda: (Limits(), ())):
            yield events


async def test_what_any_replica_puts_is_delivered_once_and_in_order(receiver, tmp_path):
    with running_valkey(tmp_path) as valkey:
        shared = settings_for("valkey", tmp_path, valkey)
        async with replica(receiver, shared) as one, replica(receiver, shared) as two:
            for n in range(30):
                await (one, two)[n % 2].pending.put(event(n, f"s{n % 3}"))
            await until(lambda: len(receiver.got) == 30)
            await until(lambda: sum(delivered(one, two)) == 30)
    assert set(receiver.seen.values()) == {1}
    for n in range(3):
        ours = [int(each["id"][5:]) for each in receiver.got if each["subject"] == f"s{n}"]
        assert ours == sorted(ours)


async def test_another_replica_goes_on_where_one_has_ended(receiver, tmp_path):
    receiver.status = 500
    with running_valkey(tmp_path) as valkey:
        shared = settings_for("valkey", tmp_path, valkey)
        async with replica(receiver, shared) as one:
            for n in range(10):
                await one.pending.put(event(n))
            await until(lambda: one.pending.counts["ops"].failed >= 2)
        receiver.status = 204
        async with replica(receiver, shared) as two:
            await until(lambda: len(receiver.got) == 10)
            await until(lambda: delivered(two) == [10])


async def test_a_store_that_is_away_for_a_while_loses_nothing(receiver, tmp_path):
    with running_valkey(tmp_path) as valkey:
        shared = settings_for("valkey", tmp_path, valkey)
        async with replica(receiver, shared) as one:
            receiver.status = 500
            for n in range(5):
                await one.pending.put(event(n))
            await until(lambda: one.pending.counts["ops"].failed >= 1)
            valkey.signal(signal.SIGSTOP)
            receiver.status = 204
            # What it takes meanwhile cannot be noted, and so comes again. It takes nothing if the
            # replica had ended its pass before.
            with contextlib.suppress(TimeoutError):
                await until(lambda: receiver.got, within_s=3)
            valkey.signal(signal.SIGCONT)
            await until(lambda: len(set(receiver.ids())) == 5)


def delivered(*replicas):
    return [each.pending.counts["ops"].delivered for each in replicas]
