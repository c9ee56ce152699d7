"""Work that goes on by itself: what metrics tell of it while nobody watches."""

import time

import grpc
import structlog

from emulator.server import running_emulator
from gateway.app import open_app
from gateway.metrics.work import _STATUSES, _TYPES
from gateway.state import StoreSettings
from tests.functional.calls import caller, order, until
from tests.harness import TENANTS, World, config_for, running_gateway
from tests.metrics.scrape import scrape
from tests.metrics.until import until_true
from tests.watch.streams import STILL, end_task, start_task

ALWAYS = {
    "admin": {"listen": "127.0.0.1:0"},
    "watch": {"busy_s": 0.1, "idle_s": 0.2, "backoff_s": 0.3, "follow": "always"},
}
PROJECT, _ = TENANTS["payments"]
LAST = "last_success_timestamp_seconds"
BILLING = {
    "size_gib": 100,
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}
SERVERS = {"protectable_type": "PROTECTABLE_TYPE_SERVER"}
NIGHTLY = {
    "name": "nightly",
    "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
    "trigger": {"properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]}},
    "operation_definition": {"max_backups": 2},
}


async def test_every_task_that_matters_has_its_series_before_it_ends():
    async with running_gateway(sections=ALWAYS, pace=STILL) as world:
        found = await scrape(world)
        for project in {project for project, _ in TENANTS.values()} | {"(other)"}:
            for kind in _TYPES:
                for status in _STATUSES:
                    labels = {"project": project, "type": kind, "status": status}
                    assert found.value("cbr_task_ends_total", **labels) == 0
                    assert found.value("cbr_task_last_end_timestamp_seconds", **labels) == 0


async def test_work_that_nobody_watches_and_no_caller_began_is_counted_when_it_ends():
    async with running_gateway(sections=ALWAYS, pace=STILL) as world:

        async def polled():
            return (await scrape(world)).value("cbr_open_tasks", project=PROJECT) == 3

        async def counted():
            found = await scrape(world)
            ends = {"project": PROJECT, "type": "backup"}
            return [
                found.value("cbr_task_ends_total", **ends, status=status)
                for status in ("succeeded", "failed", "timed_out", "skipped")
            ] == [1, 1, 1, 0]

        tasks = [start_task(world) for _ in range(3)]
        await until_true(polled)
        for task, status in zip(tasks, ("success", "failed", "timeout"), strict=True):
            end_task(world, task, status)
        await until_true(counted)


def is_open(tracker, task_id):
    """Whether it is kept that the task has not ended."""
    ends = tracker._ends.get(PROJECT)
    return ends is not None and ends._cursor is not None and task_id in ends._cursor.opened


async def test_an_end_while_no_gateway_ran_shows_when_it_was_found_out(tmp_path):
    """As many as the life before counted: an increase would show nothing."""
    failed = {"project": PROJECT, "type": "backup", "status": "failed"}
    state = StoreSettings(path=tmp_path / "state.db")

    async def last_of(world, count):
        async def counted():
            return (await scrape(world)).value("cbr_task_ends_total", **failed) == count

        await until_true(counted)
        return (await scrape(world)).value("cbr_task_last_end_timestamp_seconds", **failed)

    async with running_emulator(pace=STILL) as cloud:
        config = config_for(cloud.base_url, ALWAYS).model_copy(update={"state": state})
        async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
            world = World(app, cloud, channel)
            task, other = start_task(world), start_task(world)
            await until(lambda: is_open(app.submissions.tracker, task.id))
            end_task(world, task, "failed")
            first = await last_of(world, 1)
        end_task(world, other, "failed")
        between = time.time()
        async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
            second = await last_of(World(app, cloud, channel), 1)
    assert 0 < first <= between <= second


async def test_vaults_are_shown_with_their_last_backup():
    sections = ALWAYS | {"metrics": {"vaults_s": 0.1}}
    async with running_gateway(sections=sections) as world:
        payments = caller(world)
        servers = await payments.ok("ProtectabilityService/ListProtectables", SERVERS)
        server = servers.instances[0]
        resource = {"id": server.id, "type": server.type}
        spec = {"name": "held", "billing": BILLING, "resources": [resource]}
        held = (await payments.ok("VaultService/CreateVault", {"vault": spec})).vault.id
        spec = {"name": "empty", "billing": BILLING}
        empty = (await payments.ok("VaultService/CreateVault", {"vault": spec})).vault.id
        policy = await payments.ok("PolicyService/CreatePolicy", {"policy": NIGHTLY})
        bound = {"vault_id": held, "policy_id": policy.policy.id}
        await payments.ok("VaultService/AssociateVaultPolicy", bound)
        now = {"checkpoint": {"vault_id": held}}
        await payments.ok("CheckpointService/CreateCheckpoint", now)

        async def of(vault):
            found = await scrape(world)
            return {
                name: found.value(f"cbr_vault_{name}", project=PROJECT, vault=vault)
                for name in (
                    "scheduled",
                    "size_bytes",
                    "resources",
                    LAST,
                )
            }

        async def backed_up():
            return (await of(held))[LAST]

        async def scheduled():
            return (await of(held))["scheduled"]

        await until_true(backed_up)
        await until_true(scheduled)
        shown = await of(held)
        made = (await scrape(world)).value(
            "cbr_vault_created_timestamp_seconds", project=PROJECT, vault=held
        )
        assert shown.pop(LAST) >= made
        assert shown == {"scheduled": 1, "size_bytes": 100 << 30, "resources": 1}
        assert await of(empty) == {
            "scheduled": 0,
            "size_bytes": 100 << 30,
            "resources": 0,
            LAST: 0,
        }


async def test_vaults_that_were_never_read_look_as_old_as_the_start():
    """From the first scrape on, long before they are to be read."""
    began = time.time()
    async with running_gateway(sections=ALWAYS) as world:
        found = await scrape(world)
    for project, _ in TENANTS.values():
        at = found.value("cbr_vaults_read_timestamp_seconds", project=project)
        assert began - 1 <= at <= time.time()


async def test_vaults_that_cannot_be_read_are_a_warning_and_look_older():
    sections = ALWAYS | {"metrics": {"vaults_s": 0.1}}
    with structlog.testing.capture_logs() as said:
        async with running_gateway(sections=sections) as world:
            order(world, "status", "VaultService/ListVaults", status=403, times=None)
            warned = [("vaults cannot be read", "warning", PROJECT)] * 2

            def told():
                found = [(each["event"], each["log_level"], each.get("project")) for each in said]
                return [each for each in found if each in warned]

            await until(lambda: len(told()) >= 2)
            read = (await scrape(world)).value("cbr_vaults_read_timestamp_seconds", project=PROJECT)
            before = len(told())
            await until(lambda: len(told()) > before)
            again = await scrape(world)
            assert read
            assert again.value("cbr_vaults_read_timestamp_seconds", project=PROJECT) == read


async def test_vaults_of_projects_without_a_label_are_counted_as_left_out():
    sections = ALWAYS | {"metrics": {"vaults_s": 0.1, "max_projects": 0}}
    async with running_gateway(sections=sections) as world:

        async def left_out():
            return (await scrape(world)).value("cbr_vaults_left_out")

        assert await left_out() == 0
        spec = {"name": "empty", "billing": BILLING}
        await caller(world).ok("VaultService/CreateVault", {"vault": spec})
        await until_true(left_out)
        found = await scrape(world)
    assert found.value("cbr_vaults_left_out") == 1
    assert found.value("cbr_vaults_read_timestamp_seconds", project="(other)")
    assert "cbr_vault_size_bytes" not in found.names()
