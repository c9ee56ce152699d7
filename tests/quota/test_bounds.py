"""Every change whose outcome is not known gets a final answer: done, not done, or that a person has
to look; and none sooner than that is proved.
"""

import asyncio
import re
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import grpc
import pytest
from cbrgateway.v1 import quota_pb2, task_pb2, types_pb2
from cbrgateway.v1.backup_share_pb2 import AddBackupMembersRequest
from cbrgateway.v1.backup_share_pb2_grpc import BackupShareServiceStub
from cbrgateway.v1.policy_pb2 import DeletePolicyRequest
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.settings import DATABASES_PROJECT_ID
from gateway.changes.bounds import Listed, Unseen, Wait, unseen
from gateway.operations import load_catalog
from tests.functional.calls import BINDINGS, REQUESTS, Failure, caller, forget, tenant_for
from tests.functional.test_changes_in_doubt import RESPONSE_NOT_SHOWN, add_resources, delete_tag
from tests.quota.fleet import create
from tests.quota.oracle import agreed
from tests.quota.scenes import limit, new_vault, outcome, posts
from tests.quota.test_clocks import (
    AFTER,
    BEFORE,
    checkpoint,
    gateway,
    lose,
    policy,
    restore,
    until_ended,
)
from tests.tasks.test_settling import ordered
from tests.tasks.works import Scene, finish

PAGE = Path(__file__).parents[2] / "docs" / "quotas.md"


def test_the_page_says_of_each_change_what_ends_it():
    section = PAGE.read_text().split("\n## When an outcome is final\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    said = {name: row[2] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    declared = {
        each.rpc.partition("/")[2]: unseen(each).value for each in load_catalog() if not each.reads
    }
    assert said == declared


class TestWait:
    """Without a measured lag, the bound; never sooner than CBR is through with what it has taken
    on; an older list than one before proves nothing.
    """

    def test_without_a_measured_lag_the_bound_counts(self):
        wait = Wait(120, 30, 1000)
        assert wait.pause_s(1000, 500) == 120
        assert not wait.proves(1119, None)
        assert wait.proves(1120, None)
        assert not wait.over(1119)

    def test_a_list_that_shows_something_new_proves_sooner(self):
        wait = Wait(120, 30, 1000)
        assert not wait.proves(1000, Listed(newest=500, age_s=20))
        assert wait.pause_s(1000, 500) == 70
        assert not wait.proves(1069, Listed(newest=500, age_s=59))
        assert wait.proves(1070, Listed(newest=500, age_s=60))

    def test_a_list_proves_nothing_while_cbr_may_still_carry_the_change_out(self):
        wait = Wait(120, 120, 1000)
        assert not wait.proves(1119, Listed(newest=1119, age_s=0))
        assert wait.proves(1120, Listed(newest=1120, age_s=0))

    def test_a_list_that_is_older_than_one_before_proves_nothing(self):
        wait = Wait(120, 30, 1000)
        assert not wait.proves(1000, Listed(newest=500, age_s=1))
        assert not wait.proves(1060, Listed(newest=499, age_s=62))
        assert wait.proves(1061, Listed(newest=500, age_s=62))

    def test_a_look_comes_at_the_bound_also_after_one_that_might_have_proved_something(self):
        wait = Wait(120, 2, 1000)
        assert not wait.proves(1000, Listed(newest=999, age_s=1))
        assert wait.pause_s(1000, 500) == 4
        assert not wait.proves(1004, None)
        assert [wait.pause_s(1048, 60), wait.pause_s(1108, 120), wait.pause_s(1120, 120)] == [
            60,
            12,
            120,
        ]

    def test_an_old_list_needs_the_bound(self):
        wait = Wait(120, 30, 1000)
        assert not wait.proves(1060, Listed(newest=10, age_s=4000))
        assert wait.proves(1120, Listed(newest=10, age_s=4060))
        assert unseen(CATALOG["VaultService/OrderVault"]) is Unseen.UNDECIDED


@pytest.mark.parametrize("kind", ["vault", "policy", "checkpoint"])
async def test_what_was_not_done_is_known_long_before_the_bound(kind):
    """CBR has just listed something of the same kind, so that it is known how late its lists
    are.
    """
    async with gateway(0, settle_s=600, carry_out_s=2) as world:
        scene = Scene(world)
        method, request, operation = (
            scene.vaults.CreateVault,
            new_vault(1, request_id="r"),
            "CreateVault",
        )
        if kind == "policy":
            method, request, operation = (
                world.stub(PolicyServiceStub).CreatePolicy,
                policy(),
                "CreatePolicy",
            )
        if kind == "checkpoint":
            method, request, operation = await checkpoint(scene)
        before = type(request)()
        before.CopyFrom(request)
        before.ClearField("request_id")
        assert (await outcome(world, method, before)).reason == "OK"
        finish(world)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        # Within 90 s, which is no time beside the ten minutes of the bound.
        assert (await until_ended(world, method, request, 90)).reason == "OK"
        assert len(posts(world, operation, committed=True)) == 2


async def test_lists_that_are_late_are_waited_for():
    """They lag behind by more than CBR takes to carry out from the loss on, and CBR had listed at
    once until then.
    """
    async with gateway(0, settle_s=6, carry_out_s=1.5) as world:
        vaults = world.stub(VaultServiceStub)
        assert (await outcome(world, vaults.CreateVault, new_vault(1))).reason == "OK"
        world.emulator.state.faults.add(
            {"kind": "list_lag", "seconds": 3, "match": {"operation": "ListVault"}, "times": None}
        )
        lose(world, "CreateVault", AFTER)
        request = new_vault(2, request_id="r")
        assert (await outcome(world, vaults.CreateVault, request)).reason == "OUTCOME_UNKNOWN"
        again = await until_ended(world, vaults.CreateVault, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", "true")
        assert len(posts(world, "CreateVault", committed=True)) == 2


CATALOG = load_catalog()
CHANGES = sorted(rpc for rpc in REQUESTS if not CATALOG[rpc].reads)
OPEN = {"OUTCOME_UNKNOWN", "REQUEST_IN_PROGRESS"}


def reason_of(end):
    return end.reason if isinstance(end, Failure) else "OK"


def spare(fields):
    """A request for changes at once: each to objects of its own, so that none waits for its
    turn.
    """
    return fields | {"request_id": "lost"}


async def lost(world, rpc, when=BEFORE):
    """The end of a change whose every request is cut on that side of what CBR does, and that of its
    last repeat.
    """
    binding, who = BINDINGS[rpc], caller(world, tenant_for(rpc))
    fault = world.emulator.state.faults.add(
        {"kind": "cut", "when": when, "match": {"operation": binding.operation}, "times": None}
    )
    first = await who(rpc, spare(REQUESTS[rpc]), timeout_s=3)
    world.emulator.state.faults.remove(fault.id)
    forget(world.app)
    if not isinstance(first, Failure):
        # A read has shown that there is nothing left to do.
        return first, first, time.time()
    ends_at = time.monotonic() + 60
    while isinstance(
        last := await who(rpc, spare(REQUESTS[rpc]), timeout_s=3), Failure
    ) and last.reason in {*OPEN, "DEADLINE_TOO_SHORT", ""}:
        assert time.monotonic() < ends_at, (rpc, last)
        await asyncio.sleep(0.1)
    return first, last, time.time()


async def test_every_change_comes_to_its_end_by_the_time_that_its_error_names():
    """By the error's own words: finalBy of the first answer.

    What comes then, the page says of each change.
    """
    async with gateway(0) as world:
        ends = {}
        for each in range(0, len(CHANGES), 16):
            some = CHANGES[each : each + 16]
            ends |= dict(
                zip(some, await asyncio.gather(*(lost(world, rpc) for rpc in some)), strict=True)
            )
    unknown = {rpc: end for rpc, end in ends.items() if isinstance(end[0], Failure)}
    assert len(unknown) > 30
    for rpc, (first, last, at) in unknown.items():
        assert first.reason == "OUTCOME_UNKNOWN", (rpc, first)
        assert at <= datetime.fromisoformat(first.facts["finalBy"]).timestamp(), rpc
        if unseen(CATALOG[rpc]) is Unseen.UNDECIDED:
            assert isinstance(last, Failure), rpc
            assert last.reason == "OUTCOME_UNDECIDED", rpc


WORKS = [rpc for rpc in CHANGES if CATALOG[rpc].asynchronous]


async def test_what_started_work_is_answered_again_once_its_task_is_seen():
    """The answer was lost; what the tasks show makes up another one, with as much as they tell."""
    async with gateway(0) as world:
        ends = dict(
            zip(
                WORKS,
                await asyncio.gather(*(lost(world, rpc, AFTER) for rpc in WORKS)),
                strict=True,
            )
        )
    found = {rpc: last for rpc, (first, last, _) in ends.items() if isinstance(first, Failure)}
    assert len(found) > 4
    assert not {
        rpc: last.reason
        for rpc, last in found.items()
        if isinstance(last, Failure) and last.reason == "EXISTS"
    }
    assert any(not isinstance(last, Failure) for last in found.values())


async def undecided(world, method, request):
    """The refusal of a repeat, once it is final."""
    ended = await until_ended(world, method, request)
    assert (ended.reason, ended.code) == ("OUTCOME_UNDECIDED", grpc.StatusCode.FAILED_PRECONDITION)
    # Who repeats it waits for nothing.
    async with asyncio.timeout(20):
        again = await outcome(world, method, request, within_s=100)
    assert again.reason == "OUTCOME_UNDECIDED"
    return ended


async def test_a_restore_that_cbr_does_not_show_is_left_to_a_person():
    """It has its place under the limit until then, and gives it back: no work of it is going on."""
    places = [limit("concurrent_restores", "tenant", 1)]
    async with gateway(0, limits=places) as world:
        scene = Scene(world)
        method, request, operation = await restore(scene)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        other = type(request)()
        other.CopyFrom(request)
        other.request_id = "another"
        assert (await outcome(world, method, other)).reason == "CONCURRENCY_LIMIT"
        ended = await undecided(world, method, request)
        submission_id = ended.details["ErrorInfo"].metadata["submission"]
        submission = await scene.submission(submission_id)
        assert (submission.state, submission.state_reason != "") == (
            types_pb2.SUBMISSION_STATE_UNDECIDED,
            True,
        )
        waited = await outcome(
            world,
            world.stub(TaskServiceStub).WaitTask,
            task_pb2.WaitTaskRequest(submission_id=submission_id),
            within_s=30,
        )
        assert (waited.response.done, waited.response.submission.state) == (True, submission.state)
        assert (await outcome(world, method, other)).reason == "OK"
        quota = world.stub(QuotaServiceStub)
        (left,) = (
            await outcome(
                world, quota.ListReservations, quota_pb2.ListReservationsRequest(), "admin"
            )
        ).response.reservations
        assert (left.id, left.undecided_reason) == (submission_id, submission.state_reason)
        settled = quota_pb2.ReleaseReservationRequest(reservation_id=left.id, carried_out=False)
        assert (await outcome(world, quota.ReleaseReservation, settled, "admin")).reason == "OK"
        assert (
            await scene.submission(submission_id)
        ).state == types_pb2.SUBMISSION_STATE_NOT_STARTED
        assert len(posts(world, operation, committed=True)) == 1


async def test_a_restore_that_cbr_shows_after_all_is_done():
    async with gateway(0) as world:
        scene = Scene(world)
        method, request, operation = await restore(scene)
        late = world.emulator.state.faults.add(
            {"kind": "list_lag", "seconds": 60, "match": {"operation": "ListOpLogs"}, "times": None}
        )
        lose(world, operation, AFTER)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        await undecided(world, method, request)
        world.emulator.state.faults.remove(late.id)
        ends_at = time.monotonic() + 90
        while (ended := await outcome(world, method, request)).reason in {
            "OUTCOME_UNDECIDED",
            "REQUEST_IN_PROGRESS",
        }:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.1)
        assert (ended.reason, len(posts(world, operation))) == ("OK", 1)


async def test_an_order_that_cbr_does_not_show_is_left_to_a_person():
    async with gateway(0) as world:
        vaults = world.stub(VaultServiceStub)
        lose(world, "CreatePostPaidVault", BEFORE)
        assert (await outcome(world, vaults.OrderVault, ordered())).reason == "OUTCOME_UNKNOWN"
        ended = await undecided(world, vaults.OrderVault, ordered())
        assert ended.details["ErrorInfo"].metadata["operation"] != ""


async def test_what_nothing_shows_is_left_to_a_person():
    async with gateway(0) as world:
        scene = Scene(world)
        shares = world.stub(BackupShareServiceStub)
        request = AddBackupMembersRequest(
            backup_id=(await scene.backup()).id, project_ids=[DATABASES_PROJECT_ID], request_id="r"
        )
        lose(world, "AddMember", AFTER)
        assert (await outcome(world, shares.AddBackupMembers, request)).reason == "OUTCOME_UNKNOWN"
        await undecided(world, shares.AddBackupMembers, request)


async def test_what_cannot_be_looked_up_is_left_to_a_person_until_it_can():
    async with gateway(0) as world:
        vaults = world.stub(VaultServiceStub)
        refused = {
            "kind": "status",
            "status": 403,
            "match": {"operation": "ListVault"},
            "times": None,
        }
        lose(world, "CreateVault", AFTER)
        fault = world.emulator.state.faults.add(refused)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r"))
        ).reason == "OUTCOME_UNKNOWN"
        await undecided(world, vaults.CreateVault, new_vault(1, request_id="r"))
        world.emulator.state.faults.remove(fault.id)
        ends_at = time.monotonic() + 90
        while (
            ended := await outcome(world, vaults.CreateVault, new_vault(1, request_id="r"))
        ).reason in {"OUTCOME_UNDECIDED", "REQUEST_IN_PROGRESS"}:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.1)
        assert (ended.reason, len(posts(world))) == ("OK", 1)


async def test_a_delete_whose_object_is_gone_is_done():
    async with gateway(0) as world:
        policies = world.stub(PolicyServiceStub)
        made = (await outcome(world, policies.CreatePolicy, policy())).response.policy
        world.emulator.state.faults.add(
            {"kind": "cut", "when": AFTER, "match": {"operation": "DeletePolicy"}}
        )
        world.emulator.state.faults.add(
            {
                "kind": "status",
                "status": 502,
                "match": {"operation": "DeletePolicy"},
                "nth": 2,
                "times": 9,
            }
        )
        request = DeletePolicyRequest(policy_id=made.id, request_id="d")
        assert (await outcome(world, policies.DeletePolicy, request)).reason == "OUTCOME_UNKNOWN"
        again = await until_ended(world, policies.DeletePolicy, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", "true")


@pytest.mark.parametrize(
    ("rpc", "scene", "ended"),
    [
        *((rpc, scene, "EXISTS") for rpc, scene in sorted(RESPONSE_NOT_SHOWN, key=str)),
        ("VaultService/DeleteVaultTag", delete_tag, "OK"),
    ],
)
async def test_what_a_read_shows_in_force_is_done(rpc, scene, ended):
    """Point 17: also where it does not show what CBR had answered, nobody has to look."""
    async with gateway(0, settle_s=600) as world:
        call = caller(world)
        request = await scene(call) | {"request_id": "r"}
        lost = {"kind": "cut", "when": AFTER, "match": {"operation": BINDINGS[rpc].operation}}
        fault = world.emulator.state.faults.add(lost | {"times": None})
        assert (await call.fails(rpc, request)).reason == "OUTCOME_UNKNOWN"
        world.emulator.state.faults.remove(fault.id)
        forget(world.app)
        ends_at = time.monotonic() + 90
        while (last := reason_of(await call(rpc, request))) in OPEN:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.1)
        assert last == ended
        assert len(posts(world, BINDINGS[rpc].operation, committed=True)) == 1


async def test_what_is_there_with_other_members_is_left_to_a_person():
    """Point 17: CBR was asked, and shows what this change can have done, or another."""
    rpc = "VaultService/AddVaultResources"
    async with gateway(0) as world:
        call = caller(world)
        request = await add_resources(call)
        (bound, *_) = request["resources"]
        request["resources"] = [{**bound, "name": "a name that CBR does not take"}]
        lose(world, "AddVaultResource", AFTER)
        assert (await call.fails(rpc, request | {"request_id": "r"})).reason == "OUTCOME_UNKNOWN"
        ends_at = time.monotonic() + 90
        while (last := await call.fails(rpc, request | {"request_id": "r"})).reason in OPEN:
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.1)
        assert last.reason == "OUTCOME_UNDECIDED"
        assert "CBR shows what can be its own or another's" in last.message


@pytest.mark.parametrize("when", [BEFORE, AFTER])
async def test_outcomes_that_are_open_together_are_told_by_a_few_lists(when):
    """After an outage hundreds may be final at the same moment: told one after the other, the last
    would come long after it was promised.
    """
    many = 60
    async with gateway(0, settle_s=3, limits=[limit("vaults", "tenant", 1000)]) as world:
        assert (await create(world, 0)).reason == "OK"
        world.emulator.state.faults.add(
            {"kind": "delay", "seconds": 0.3, "match": {"operation": "ListVault"}, "times": None}
        )
        # All are on their way before the first is cut: after a few the breaker lets no more out.
        for fault in ({"kind": "delay", "seconds": 1}, {"kind": "cut", "when": when}):
            world.emulator.state.faults.add(
                {**fault, "match": {"operation": "CreateVault"}, "times": None}
            )
        ended = await asyncio.gather(*(create(world, n) for n in range(1, many + 1)))
        lost = Counter(each.reason for each in ended)["OUTCOME_UNKNOWN"]
        assert lost > many / 2
        await agreed(world)
        assert len(posts(world, "ListVault")) < lost / 2
        assert len(posts(world, committed=True)) == (1 if when == BEFORE else lost + 1)
