"""Guards: every RPC that destroys more than the object it names, in each state, under each setting
of its tenant's guards, with and without `force`. The emulator's truth log says what was sent.
"""

import asyncio
import itertools
from dataclasses import dataclass

import pytest
from cbrgateway.v1.access_pb2 import GuardMode

from emulator.transitions import Mode, Pace
from gateway.audit.query import as_text
from gateway.events.tasks import task_ended
from gateway.operations import TRAITS
from tests.audit.scenes import audited_gateway, records
from tests.functional import stage
from tests.functional.calls import Failure, arrived, caller, forget, order, until
from tests.harness import TENANTS, running_gateway, tenant_entry

DELETE, REMOVE, POLICY, KEEP = (
    "VaultService/DeleteVault",
    "VaultService/RemoveVaultResources",
    "PolicyService/DeletePolicy",
    "PolicyService/UpdatePolicy",
)
REASONS = {
    DELETE: "VAULT_NOT_EMPTY",
    REMOVE: "RESOURCE_HAS_BACKUPS",
    POLICY: "POLICY_IN_USE",
    KEEP: "RETENTION_SHORTENED",
}
NAMES = {
    DELETE: "delete_vault",
    REMOVE: "remove_vault_resources",
    POLICY: "delete_policy",
    KEEP: "shorten_retention",
}
YOUNG = "young"
SETTINGS = dict(zip(TENANTS, ("force", "refuse", "allow", YOUNG), strict=True))
"""Tenant -> its guards; the first has none in its configuration."""


def guarded(tenant, mode):
    if mode == "force":
        return tenant_entry(tenant)
    young = {"min_age_of_last_backup_s": 3600}
    return tenant_entry(tenant) | {
        "guards": young if mode == YOUNG else dict.fromkeys(NAMES.values(), mode)
    }


def lets(mode, rpc, *, full, forced):
    """Whether a change may be sent."""
    if not full or mode == "allow":
        return True
    if mode == YOUNG and rpc != POLICY:
        return False
    return forced and mode != "refuse"


@dataclass(frozen=True)
class Held:
    """A vault with one resource, and the policy that works on it."""

    vault: str
    resource: str
    policy: str
    backups: tuple[str, ...] = ()

    def request(self, rpc):
        match rpc:
            case "VaultService/DeleteVault":
                return {"vault_id": self.vault}
            case "VaultService/RemoveVaultResources":
                return {"vault_id": self.vault, "resource_ids": [self.resource]}
            case "PolicyService/UpdatePolicy":
                patch = {"operation_definition": {"max_backups": 1}}
                return {"policy_id": self.policy, "policy": patch}
        return {"policy_id": self.policy}

    def lost(self, rpc):
        return (self.vault,) if rpc == POLICY else self.backups


async def held(call, rpc, *, full):
    vault = await stage.vault(call, count=0 if rpc == POLICY else 1)
    resource = vault.resources[0].id if rpc != POLICY else ""
    policy = (await stage.policy(call)).id if rpc in {POLICY, KEEP} else ""
    if full and policy:
        await call.ok(
            "VaultService/AssociateVaultPolicy", {"vault_id": vault.id, "policy_id": policy}
        )
    if full and rpc != POLICY:
        wish = {"vault_id": vault.id, "parameters": {"policy_id": policy}}
        await call.ok("CheckpointService/CreateCheckpoint", {"checkpoint": wish})
    rows = (await call.ok("BackupService/ListBackups", {"vault_id": vault.id})).backups
    return Held(vault.id, resource, policy, tuple(row.id for row in rows))


@pytest.fixture(scope="module")
async def shared():
    sections = {"tenants": [guarded(tenant, mode) for tenant, mode in SETTINGS.items()]}
    async with running_gateway(sections=sections, pace=Pace(Mode.IMMEDIATE)) as running:
        yield running


@pytest.fixture
def world(shared):
    """As new, since there are only so many servers."""
    shared.emulator.state.reset()
    forget(shared.app)
    return shared


def test_every_guard_stands_in_the_matrix():
    guards = {
        each.rpc: str(each.losing.guard)
        for each in TRAITS
        if each.losing is not None and each.losing.guard is not None
    }
    assert guards == NAMES


@pytest.mark.parametrize("tenant", SETTINGS)
@pytest.mark.parametrize("rpc", REASONS)
async def test_what_a_guard_lets_through(world, rpc, tenant):
    call, mode = caller(world, tenant), SETTINGS[tenant]
    for full, forced in itertools.product((False, True), repeat=2):
        there = await held(call, rpc, full=full)
        before = len(arrived(world, rpc))
        answer = await call(rpc, there.request(rpc) | {"force": forced})
        sent = len(arrived(world, rpc)) - before
        if lets(mode, rpc, full=full, forced=forced):
            assert not isinstance(answer, Failure), (full, forced, answer)
            assert sent == 1
            continue
        assert (answer.code, answer.reason, sent) == ("FAILED_PRECONDITION", REASONS[rpc], 0)
        assert_told(answer, rpc, there, mode)


def assert_told(failure, rpc, there, mode):
    """How much would be lost, the newest of it, and what to do."""
    assert failure.facts["guard"] == ("force" if mode == YOUNG else mode)
    assert failure.facts["vaults" if rpc == POLICY else "backups"] == "1"
    if rpc != POLICY:
        assert failure.facts["newestBackup"] == there.backups[0]
        assert failure.facts["newestTime"] in failure.message
    (violation,) = failure.details["PreconditionFailure"].violations
    assert violation.type == REASONS[rpc]
    kind = "policy" if there.policy else "vault"
    assert violation.subject.split() == [kind, there.policy or there.vault]
    assert ("set `force`" in failure.message) == (mode != "refuse" and not _too_young(failure))
    assert "Nothing was sent" in failure.message
    if _too_young(failure):
        assert "the newest is less than a minute old" in failure.message
        assert "younger than 1 hour (guards.min_age_of_last_backup_s)" in failure.message


def _too_young(failure):
    return "min_age_of_last_backup_s" in failure.message


@pytest.mark.parametrize("tenant", SETTINGS)
async def test_a_caller_sees_its_guards(world, tenant):
    shown = (await caller(world, tenant).ok("AccessService/GetCaller")).guards
    mode = "force" if SETTINGS[tenant] == YOUNG else SETTINGS[tenant]
    for name in NAMES.values():
        assert GuardMode.Name(getattr(shown, name)) == f"GUARD_MODE_{mode.upper()}"
    assert shown.min_age_of_last_backup_s == (3600 if SETTINGS[tenant] == YOUNG else 0)


async def test_a_repeat_with_force_may_have_the_same_request_id(world):
    call = caller(world)
    there = await held(call, DELETE, full=True)
    wish = {"vault_id": there.vault, "request_id": "once"}
    assert (await call.fails(DELETE, wish)).reason == "VAULT_NOT_EMPTY"
    await call.ok(DELETE, wish | {"force": True})
    sent = len(arrived(world, DELETE))
    await call.ok(DELETE, wish | {"force": True})
    assert len(arrived(world, DELETE)) == sent


async def test_what_cannot_be_seen_is_not_deleted_without_force(world):
    call = caller(world)
    there = await held(call, DELETE, full=False)
    broken = order(world, "status", "BackupService/ListBackups", status=400, body={}, times=1)
    before = len(arrived(world, DELETE))
    assert (await call.fails(DELETE, there.request(DELETE))).code != "OK"
    assert len(arrived(world, DELETE)) == before
    world.emulator.state.faults.remove(broken)
    order(world, "status", "BackupService/ListBackups", status=400, body={}, times=1)
    await call.ok(DELETE, there.request(DELETE) | {"force": True})
    assert len(arrived(world, DELETE)) == before + 1


async def test_a_deletion_says_everywhere_what_goes_with_it(tmp_path):
    sections = {"watch": {"busy_s": 0.1, "idle_s": 0.2, "follow": "always"}, "tasks": {}}
    async with audited_gateway(tmp_path, sections=sections, pace=Pace(Mode.IMMEDIATE)) as world:
        ends, call = [], caller(world)
        world.app.ends.listeners.append(lambda end: _kept(ends, end))
        there = await held(call, DELETE, full=True)
        refused = await call.fails(DELETE, there.request(DELETE))
        answer = await call.ok(DELETE, there.request(DELETE) | {"force": True})
        (loss,) = answer.submission.losses
        assert (loss.kind, loss.count, loss.newest_id) == ("backup", 1, there.backups[0])
        assert tuple(loss.ids) == there.backups
        assert loss.HasField("newest_time")
        submission = {"submission_id": answer.submission.id}
        kept = await call.ok("TaskService/GetSubmission", submission)
        assert kept.submission.losses == answer.submission.losses
        await until(lambda: any(end.type == "VAULT_DELETE" for end in ends))
    (end,) = [end for end in ends if end.type == "VAULT_DELETE"]
    (lost,) = task_ended(end, "gateway", 0).data.losses
    assert (lost.type, lost.count, lost.ids) == ("backup", 1, there.backups)
    assert refused.reason == "VAULT_NOT_EMPTY"
    about = {
        row["unmapped"]["event"]: row["unmapped"].get("losses")
        for row in records(tmp_path, resource=there.backups[0])
        if row["api"]["operation"] == DELETE
    }
    for event in ("CALL_REFUSED", "CHANGE_INTENDED", "CHANGE_ENDED"):
        (lost,) = about[event]
        assert (lost["type"], lost["count"], lost["uids"]) == ("backup", 1, [*there.backups])


@pytest.mark.parametrize(
    ("kind", "lost"),
    [("task_failed", []), ("task_skipped", []), ("task_timeout", [(0, True)])],
)
async def test_what_was_not_deleted_is_nowhere_told_as_lost(tmp_path, kind, lost):
    sections = {"watch": {"busy_s": 0.1, "idle_s": 0.2, "follow": "always"}, "tasks": {}}
    async with audited_gateway(tmp_path, sections=sections, pace=Pace(Mode.IMMEDIATE)) as world:
        ends, call = [], caller(world)
        world.app.ends.listeners.append(lambda end: _kept(ends, end))
        there = await held(call, DELETE, full=True)
        order(world, kind, DELETE)
        answer = await call.ok(DELETE, there.request(DELETE) | {"force": True})
        await until(lambda: any(end.type == "VAULT_DELETE" for end in ends))
        wish = {"submission_id": answer.submission.id}
        kept = (await call.ok("TaskService/GetSubmission", wish)).submission
        assert (await call("VaultService/GetVault", {"vault_id": there.vault})).vault.id
    (end,) = [end for end in ends if end.type == "VAULT_DELETE"]
    told = task_ended(end, "gateway", 0).data.losses
    assert [(each.count, each.unknown) for each in told] == lost
    assert [(each.count, each.unknown) for each in kept.losses] == lost
    (row,) = [
        row
        for row in records(tmp_path, resource=there.vault)
        if row["unmapped"]["event"] == "TASK_ENDED" and row["api"]["operation"] == DELETE
    ]
    recorded = row["unmapped"].get("losses", ())
    assert [(each["count"], each.get("unknown", False)) for each in recorded] == lost


async def test_what_could_not_be_counted_is_nowhere_told_as_none(tmp_path):
    sections = {"watch": {"busy_s": 0.1, "idle_s": 0.2, "follow": "always"}, "tasks": {}}
    async with audited_gateway(tmp_path, sections=sections, pace=Pace(Mode.IMMEDIATE)) as world:
        ends, call = [], caller(world)
        world.app.ends.listeners.append(lambda end: _kept(ends, end))
        there = await held(call, DELETE, full=True)
        order(world, "status", "BackupService/ListBackups", status=400, body={}, times=1)
        answer = await call.ok(DELETE, there.request(DELETE) | {"force": True})
        (loss,) = answer.submission.losses
        assert (loss.unknown, loss.count) == (True, 0)
        await until(lambda: any(end.type == "VAULT_DELETE" for end in ends))
    (end,) = [end for end in ends if end.type == "VAULT_DELETE"]
    (lost,) = task_ended(end, "gateway", 0).data.losses
    assert lost.unknown
    rows = [
        row
        for row in records(tmp_path, resource=there.vault)
        if row["api"]["operation"] == DELETE and row["unmapped"].get("losses")
    ]
    assert {row["unmapped"]["event"] for row in rows} >= {"CHANGE_INTENDED", "CHANGE_ENDED"}
    for row in rows:
        assert "with an unknown number of backups" in as_text(row)


async def test_a_deletion_whose_answer_was_lost_still_says_what_went_with_it():
    sections = {"quota": {"markers": False, "sweep_s": 1}, "tasks": {"correlate": True}}
    async with running_gateway(sections=sections, pace=Pace(Mode.IMMEDIATE)) as world:
        call = caller(world)
        there = await held(call, DELETE, full=True)
        order(world, "cut", DELETE, when="after_commit", times=None)
        wish = there.request(DELETE) | {"force": True, "request_id": "lost"}
        failed = await call.fails(DELETE, wish, timeout_s=3)
        submission = {"submission_id": failed.facts["submission"]}

        async def losses():
            found = await call.ok("TaskService/GetSubmission", submission)
            return [tuple(loss.ids) for loss in found.submission.losses]

        async with asyncio.timeout(60):
            while await losses() != [there.backups]:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.1)


async def _kept(ends, end):
    ends.append(end)
