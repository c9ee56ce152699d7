"""Whatever the difference between the gateway's clock and CBR's, a change is made once, and its
repeat is told what became of it.

The emulator's clock is ahead or behind; which of the two is right makes no difference.
"""

import asyncio
import contextlib
import hashlib
import signal
import time
from collections import Counter

import grpc
import pytest
from cbrgateway.v1 import backup_pb2, checkpoint_pb2, policy_pb2, vault_pb2
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from tests.functional.calls import until
from tests.harness import TENANTS, World, config_for, running_gateway, tenant_entry
from tests.quota.processes import Process
from tests.quota.scenes import new_vault, often, outcome, posts
from tests.tasks.test_submissions import free_again
from tests.tasks.works import FAST, UNLISTED, Scene, finish

AHEAD_S = often([-900, 90], [-900, -90, 90, 900])
AFTER, BEFORE = "after_commit", "before_commit"
_NOT_YET = {
    "OUTCOME_UNKNOWN",
    "REQUEST_IN_PROGRESS",
    "CONCURRENCY_LIMIT",
    "DEADLINE_EXCEEDED",
    "DEADLINE_TOO_SHORT",
}
"""What a repeat ends with while the outcome is open; the last two on a busy machine."""


def gateway(ahead_s, *, markers=True, settle_s=1, carry_out_s=None, limits=(), **more):
    """Before a cloud whose clock is that far ahead."""
    # Another tenant of the same project.
    twin = {
        **tenant_entry("payments"),
        "id": "twin",
        "api_keys": [{"id": "test", "sha256": hashlib.sha256(b"key-of-twin").hexdigest()}],
    }
    tenants = [*map(tenant_entry, TENANTS), twin]
    sections = {
        "tasks": FAST,
        "quota": {
            "markers": markers,
            "sweep_s": 1,
            "settle_s": settle_s,
            "carry_out_s": carry_out_s,
        },
        "tenants": tenants,
        "limits": limits,
    }
    return running_gateway(
        sections=sections,
        pace=Pace(Mode.TIME, duration_s=3600),
        clock_ahead_s=ahead_s,
        max_skew_s=1000,
        **more,
    )


@contextlib.asynccontextmanager
async def console(cloud):
    """Somebody who works with CBR, but not through the gateway."""
    async with (
        open_app(config_for(cloud.base_url)) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield Scene(World(app, cloud, channel))


def lose(world, operation, when):
    world.emulator.state.faults.add(
        {"kind": "cut", "when": when, "match": {"operation": operation}}
    )


async def until_ended(world, method, request, within_s=90):
    """Repeats a change as its callers do, until its outcome is known."""
    ends_at = time.monotonic() + within_s
    while (ended := await outcome(world, method, request, within_s=3)).reason in _NOT_YET:
        assert time.monotonic() < ends_at, ended.reason
        await asyncio.sleep(0.05)
    return ended


async def checkpoint(scene):
    wanted = checkpoint_pb2.CreateCheckpointRequest(
        checkpoint={"vault_id": (await scene.vault()).id}, request_id="r"
    )
    return scene.checkpoints.CreateCheckpoint, wanted, "CreateCheckpoint"


async def restore(scene):
    backup = await scene.backup()
    target = {"server_id": backup.resource_id}
    return (
        scene.backups.RestoreBackup,
        backup_pb2.RestoreBackupRequest(backup_id=backup.id, restore=target, request_id="r"),
        "RestoreBackup",
    )


@pytest.mark.parametrize("ahead_s", AHEAD_S)
@pytest.mark.parametrize("markers", [True, False])
@pytest.mark.parametrize("work", [checkpoint, restore])
async def test_work_whose_answer_was_lost_is_found_once(work, markers, ahead_s):
    async with gateway(ahead_s, markers=markers) as world:
        scene = Scene(world)
        method, request, operation = await work(scene)
        before = len(posts(world, operation, committed=True))
        lose(world, operation, AFTER)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        again = await until_ended(world, method, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", "true")
        assert len(posts(world, operation, committed=True)) == before + 1
        started = scene.started("backup" if work is checkpoint else "restore")
        assert list((await scene.known(again.response.submission.id)).task_ids) == started[-1:]


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_tasks_are_found_at_once(ahead_s):
    async with gateway(ahead_s) as world:
        scene = Scene(world)
        held = await scene.vault()
        request = vault_pb2.RemoveVaultResourcesRequest(
            vault_id=held.id, resource_ids=[held.resources[0].id]
        )
        answer = await scene.call(scene.vaults.RemoveVaultResources, request)
        assert list((await scene.known(answer.submission.id)).task_ids) == scene.started(
            "remove_resource"
        )


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_work_that_was_never_begun_is_begun_once_by_the_repeat(ahead_s):
    async with gateway(ahead_s) as world:
        method, request, operation = await checkpoint(Scene(world))
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        assert (await until_ended(world, method, request)).reason == "OK"
        assert len(posts(world, operation, committed=True)) == 1


@pytest.mark.parametrize("ahead_s", [-90, 0])
async def test_older_work_of_others_is_not_taken_for_ones_own(ahead_s):
    """Somebody restores the same backup in the vendor's console; some seconds later ours is lost
    before CBR has it.
    """
    async with gateway(ahead_s) as world, console(world.emulator) as other:
        method, request, operation = await restore(Scene(world))
        await other.call(other.backups.RestoreBackup, request)
        free_again(world)
        await pass_by(world, 4)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        assert (await until_ended(world, method, request)).reason == "OUTCOME_UNDECIDED"


async def pass_by(world, seconds):
    """Lets time pass in CBR, and the gateway hear of it."""
    clock = world.emulator.state.clock
    clock.step(seconds)
    clock.skew_s += seconds
    await outcome(world, Scene(world).vaults.ListVaults, vault_pb2.ListVaultsRequest())


def ten_tags():
    return [{"key": f"k{number}", "value": "v"} for number in range(10)]


def policy(name="p", **more):
    retention = {"max_backups": 7, **more}
    trigger = {"properties": {"pattern": ["FREQ=WEEKLY;BYDAY=MO;BYHOUR=14;BYMINUTE=00"]}}
    wanted = {
        "name": name,
        "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
        "operation_definition": retention,
        "trigger": trigger,
    }
    return policy_pb2.CreatePolicyRequest(policy=wanted, request_id="r")


CREATES = {
    "policy": (PolicyServiceStub, "CreatePolicy", policy),
    "ten tags": (
        VaultServiceStub,
        "CreateVault",
        lambda: new_vault(1, request_id="r", tags=ten_tags()),
    ),
    "marker": (VaultServiceStub, "CreateVault", lambda: new_vault(1, request_id="r")),
}
UNMARKED = ["policy", "ten tags"]


def create(world, kind):
    """The method, its request, and its operation."""
    stub, operation, request = CREATES[kind]
    return getattr(world.stub(stub), operation), request(), operation


@pytest.mark.parametrize("ahead_s", AHEAD_S)
@pytest.mark.parametrize("when", [AFTER, BEFORE])
@pytest.mark.parametrize("kind", CREATES)
async def test_a_create_that_was_cut_is_made_once(kind, when, ahead_s):
    async with gateway(ahead_s) as world:
        method, request, operation = create(world, kind)
        lose(world, operation, when)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        again = await until_ended(world, method, request)
        assert (again.reason, again.trailers.get("replayed")) == (
            "OK",
            "true" if when == AFTER else None,
        )
        assert len(posts(world, operation, committed=True)) == 1


@pytest.mark.parametrize("ahead_s", [-90, 0])
@pytest.mark.parametrize("seconds", [0, 3])
@pytest.mark.parametrize("kind", UNMARKED)
async def test_an_older_namesake_is_not_taken_for_ones_own(kind, seconds, ahead_s):
    """Somebody makes the same in the vendor's console; ours is lost before CBR has it."""
    async with gateway(ahead_s) as world, console(world.emulator) as other:
        method, request, operation = create(world, kind)
        await other.call(create(other.world, kind)[0], request)
        await pass_by(world, seconds)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        again = await until_ended(world, method, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", None)
        assert len(posts(world, operation, committed=True)) == 2


@pytest.mark.parametrize("kind", UNMARKED)
async def test_an_older_namesake_that_is_listed_late_is_left_to_people(kind):
    """As above, so shortly before that its date leaves open which was first, and CBR does not list
    it yet: the list from before proves nothing then.
    """
    lists = {"policy": "ListPolicies", "ten tags": "ListVault"}[kind]
    async with gateway(0, settle_s=2) as world, console(world.emulator) as other:
        method, request, operation = create(world, kind)
        late = world.emulator.state.faults.add(
            {"kind": "list_lag", "seconds": 3600, "match": {"operation": lists}, "times": None}
        )
        made = await other.call(create(other.world, kind)[0], request)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        lost = posts(world, operation)[-1]
        cloud = world.emulator.state.world
        namesake = (
            cloud.policies[made.policy.id] if kind == "policy" else cloud.vaults[made.vault.id]
        )
        namesake.created_at = lost.arrived_at - 0.1
        await until(
            lambda: any(each.seq > lost.seq and each.replied_at for each in posts(world, lists))
        )
        world.emulator.state.faults.remove(late.id)
        assert (await until_ended(world, method, request)).reason == "OUTCOME_UNDECIDED"
        assert len(posts(world, operation, committed=True)) == 1


@pytest.mark.parametrize("tenant", ["payments", "twin"])
@pytest.mark.parametrize("kind", UNMARKED)
async def test_what_another_operation_made_is_not_taken_for_ones_own(kind, tenant):
    """A later call makes the same while the outcome of the first is open, and is answered."""
    async with gateway(0) as world:
        method, request, operation = create(world, kind)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        request.request_id = "another"
        made = await outcome(world, method, request, tenant)
        assert made.reason == "OK"
        request.request_id = "r"
        again = await until_ended(world, method, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", None)
        assert len(posts(world, operation, committed=True)) == 2


@pytest.mark.parametrize("kind", UNMARKED)
async def test_while_two_creates_alike_are_open_neither_gets_the_others(kind):
    async with gateway(0) as world:
        method, request, operation = create(world, kind)
        lose(world, operation, BEFORE)
        world.emulator.state.faults.add(
            {"kind": "list_lag", "seconds": 0.4, "match": {"method": "GET"}, "times": None}
        )
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        lose(world, operation, AFTER)
        request.request_id = "another"
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        for request.request_id in ("r", "another"):
            assert (await until_ended(world, method, request)).reason == "OUTCOME_UNDECIDED"
        assert len(posts(world, operation, committed=True)) == 1


async def test_a_namesake_that_is_not_as_it_was_asked_for_is_left_to_people():
    """Somebody makes a policy of the same name in the console, just after ours was lost."""
    async with gateway(0) as world, console(world.emulator) as other:
        method, request, operation = create(world, "policy")
        lose(world, operation, BEFORE)
        world.emulator.state.faults.add(
            {"kind": "status", "match": {"operation": "ListPolicies"}, "nth": 2, "times": 6}
        )
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        await other.call(create(other.world, "policy")[0], policy(max_backups=8))
        assert (await until_ended(world, method, request)).reason == "OUTCOME_UNDECIDED"


@pytest.mark.parametrize("markers", [True, False])
async def test_a_backup_of_others_is_not_taken_for_ones_own(markers):
    """Somebody backs the same vault up in the vendor's console, and describes it, just after ours
    was lost.
    """
    async with gateway(0, markers=markers) as world, console(world.emulator) as other:
        method, request, operation = await checkpoint(Scene(world))
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        await other.checkpoint(request.checkpoint.vault_id, parameters={"description": "by hand"})
        finish(world)
        again = await until_ended(world, method, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", None)
        assert len(posts(world, operation, committed=True)) == 2


@pytest.mark.parametrize(("ahead_s", "when"), [(-900, AFTER), (900, BEFORE)])
async def test_a_gateway_that_is_killed_after_it_sent_finds_what_became_of_it(
    ahead_s, when, tmp_path
):
    sections = {
        "tasks": FAST,
        "quota": {"sweep_s": 0.5, "settle_s": 3},
        "state": {"path": str(tmp_path / "state.db")},
    }
    async with running_emulator(
        pace=Pace(Mode.TIME, duration_s=3600), clock_ahead_s=ahead_s, max_skew_s=1000
    ) as cloud:
        process = Process(tmp_path, cloud, **sections)
        async with process.running() as world:
            work = [await each(Scene(world)) for each in (restore, checkpoint)]
            wanted = [
                (request, operation)
                for _, request, operation in (*work, *(create(world, kind) for kind in CREATES))
            ]
            for number, (request, _) in enumerate(wanted):
                request.request_id = f"r-{number}"
            expected = Counter(operation for _, operation in wanted)
            before = {each: len(posts(world, each)) for each in expected}
            for operation in expected:
                cloud.state.faults.add(
                    {
                        "kind": "delay",
                        "when": when,
                        "seconds": 300,
                        "match": {"operation": operation},
                        "times": None,
                    }
                )
            calls = [
                asyncio.create_task(outcome(world, method_of(world, request), request))
                for request, _ in wanted
            ]
            await until(
                lambda: all(
                    len(posts(world, each)) - before[each] == count
                    for each, count in expected.items()
                ),
                30,
            )
            await process.end(signal.SIGKILL)
            await asyncio.gather(*calls)
        cloud.state.faults.remove()
        async with process.running() as world:
            for request, operation in wanted:
                ended = await until_ended(world, method_of(world, request), request)
                lost = (operation, when) == ("RestoreBackup", BEFORE)
                assert (ended.reason, ended.trailers.get("replayed")) == (
                    "OUTCOME_UNDECIDED" if lost else "OK",
                    "true" if when == AFTER else None,
                ), operation
            made = {each: len(posts(world, each, committed=True)) for each in expected}
            assert made == {
                each: count + earlier(each) - (each == "RestoreBackup" and when == BEFORE)
                for each, count in expected.items()
            }


def earlier(operation):
    """How many `restore` and `checkpoint` made themselves."""
    return {"CreateVault": 2, "CreateCheckpoint": 1}.get(operation, 0)


def method_of(world, request):
    name = type(request).__name__.removesuffix("Request")
    scene = Scene(world)
    stub = {
        "RestoreBackup": scene.backups,
        "CreateCheckpoint": scene.checkpoints,
        "CreateVault": scene.vaults,
    }.get(name) or world.stub(PolicyServiceStub)
    return getattr(stub, name)


@pytest.mark.parametrize("work", [checkpoint, restore])
async def test_when_a_clock_is_set_meanwhile_times_prove_nothing(work):
    """CBR's clock is set: how its dates of before and after compare is not known any more.

    A marker proves all the same.
    """
    async with gateway(0) as world:
        method, request, operation = await work(Scene(world))
        unlisted = world.emulator.state.faults.add(UNLISTED)
        lose(world, operation, AFTER)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        world.emulator.state.clock.step(600)
        world.emulator.state.clock.skew_s += 600
        world.emulator.state.faults.remove(unlisted.id)
        ended = await until_ended(world, method, request)
        assert ended.reason == ("OK" if work is checkpoint else "OUTCOME_UNDECIDED")
        assert len(posts(world, operation, committed=True)) == 1


@pytest.mark.parametrize("kind", UNMARKED)
async def test_a_namesake_of_which_it_is_not_known_whether_it_was_there_before_proves_nothing(kind):
    async with gateway(0) as world:
        method, request, operation = create(world, kind)
        lists = {"policy": "ListPolicies", "ten tags": "ListVault"}[kind]
        refused = world.emulator.state.faults.add(
            {"kind": "status", "status": 403, "match": {"operation": lists}, "times": None}
        )
        lose(world, operation, AFTER)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        world.emulator.state.faults.remove(refused.id)
        assert (await until_ended(world, method, request)).reason == "OUTCOME_UNDECIDED"
        assert len(posts(world, operation, committed=True)) == 1
