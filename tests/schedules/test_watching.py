"""A scheduled backup that does not run is told everywhere, once, whoever looks and restarts."""

import contextlib
import datetime as dt
import time

import pytest

from emulator.actions import run_policy
from emulator.server import running_emulator
from gateway.schedules.watching import ScheduleWatch
from gateway.state import StoreSettings
from gateway.upstream import remote_clock
from tests.events.receiver import receiving
from tests.events.scenes import assert_valid, settings, telling
from tests.functional import stage
from tests.functional.calls import caller, until
from tests.metrics.scrape import scrape

LOOKING = {"schedules": {"grace_s": 1800, "read_s": 0.1}, "admin": {"listen": "127.0.0.1:0"}}
MISSED = "com.cbrgateway.schedule.missed.v1"


@pytest.fixture
async def receiver(tmp_path):
    async with receiving(tmp_path) as receiver:
        yield receiver


@pytest.fixture
def looks(monkeypatch):
    """How often a project was looked at to its end, by project."""
    counts, look = {}, ScheduleWatch._look

    async def counted(self, project):
        await look(self, project)
        counts[project] = counts.get(project, 0) + 1

    monkeypatch.setattr(ScheduleWatch, "_look", counted)
    return counts


@pytest.fixture(autouse=True)
def clock_may_be_set(monkeypatch):
    """CBR's clock is set here instead of waited for: what it told before is not true any more."""
    monkeypatch.setattr(remote_clock, "_DOUBTED_S", 0.0)


def step(cloud, seconds):
    """CBR's time goes on."""
    cloud.state.clock.step(seconds)
    cloud.state.clock.skew_s += seconds


async def looked(looks):
    """Until a look that begins now has ended."""
    looks.clear()
    await until(lambda: looks and min(looks.values()) >= 2)


async def nightly(world, *, enabled=True):
    """A vault with a server, and a policy that is to back it up in an hour: both."""
    payments = caller(world)
    due = dt.datetime.fromtimestamp(time.time() // 60 * 60 + 3600, dt.UTC)
    rule = f"FREQ=DAILY;INTERVAL=1;BYHOUR={due:%H};BYMINUTE={due:%M}"
    wish = stage.policy_request()
    wish["policy"] |= {"enabled": enabled, "trigger": {"properties": {"pattern": [rule]}}}
    policy = (await payments.ok("PolicyService/CreatePolicy", wish)).policy
    held = await stage.vault(payments, 1)
    names = {"vault_id": held.id, "policy_id": policy.id}
    await payments.ok("VaultService/AssociateVaultPolicy", names)
    return held, policy, due


def told(receiver):
    return [event for event in receiver.got if event["type"] == MISSED]


@contextlib.asynccontextmanager
async def life(cloud, receiver, tmp_path):
    state = StoreSettings(path=str(tmp_path / "state.db"))
    async with telling(cloud, settings(receiver), state, **LOOKING) as world:
        yield world


async def test_a_run_that_does_not_come_is_told_everywhere_and_once(
    receiver, tmp_path, looks, capsys
):
    async with running_emulator() as cloud:
        async with life(cloud, receiver, tmp_path) as world:
            held, policy, due = await nightly(world)
            await looked(looks)
            step(cloud, 3600 + 1200)
            await looked(looks)
            assert not told(receiver)
            step(cloud, 1200)
            await until(lambda: told(receiver))
            await looked(looks)
            shown = await scrape(world)
        async with life(cloud, receiver, tmp_path):
            await looked(looks)
            await until(lambda: len(receiver.seen) == len(receiver.got))
    (event,) = told(receiver)
    assert receiver.seen[event["id"]] == 1
    assert_valid(receiver.got)
    assert event["subject"] == f"policies/{policy.id}"
    assert dt.datetime.fromisoformat(event["data"].pop("due")) == due
    assert event["data"] == {
        "outcome": "missed",
        "policy": policy.id,
        "policy_name": "nightly",
        "project": held.project_id,
        "tenant": "payments",
        "vaults": [held.id],
    }
    label = {"project": held.project_id}
    assert shown.value("cbr_schedule_runs_missed_total", **label) == 1
    assert shown.value("cbr_schedule_last_missed_timestamp_seconds", **label) > 1e9
    said = [each for each in capsys.readouterr().out.splitlines() if "did not run" in each]
    assert len(said) == 1
    for word in ("warning", policy.id, held.id, "nightly"):
        assert word in said[0]


async def test_a_run_that_comes_and_one_that_is_off_are_not_missed(receiver, tmp_path, looks):
    async with running_emulator() as cloud, life(cloud, receiver, tmp_path) as world:
        _, policy, _ = await nightly(world)
        await nightly(world, enabled=False)
        await looked(looks)
        step(cloud, 3600)
        run_policy(cloud.state, policy.id)
        step(cloud, 2400)
        await looked(looks)
        await until(lambda: len(receiver.got) >= 1)
        assert not told(receiver)
        step(cloud, 70_000)
        await looked(looks)
        assert not told(receiver)


async def test_a_gateway_that_was_down_tells_only_what_it_can_know(receiver, tmp_path, looks):
    """What ran shows after the start, too; nobody knows whether a policy unseen before was on."""
    async with running_emulator() as cloud:
        async with life(cloud, receiver, tmp_path) as world:
            _, policy, _ = await nightly(world)
            await looked(looks)
            unseen = policy.id
        async with telling(cloud, settings(receiver), **LOOKING) as world:
            pass
        step(cloud, 3600)
        step(cloud, 2400)
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        async with life(cloud, receiver, fresh):
            await looked(looks)
        assert not told(receiver)
        async with life(cloud, receiver, tmp_path):
            await until(lambda: told(receiver))
    (event,) = told(receiver)
    assert event["data"]["policy"] == unseen
