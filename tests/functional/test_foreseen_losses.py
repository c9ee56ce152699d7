"""What a change is said to destroy is what goes once it is made and the emulator has carried it
out: for mixtures of states, origins and forms of retention.
"""

from dataclasses import dataclass, field

import pytest

from emulator import actions
from emulator.faults import RUN_POLICY
from tests.functional import sound_changes, stage

shared_world = sound_changes.shared_world

UPDATE, EXPIRE = "PolicyService/UpdatePolicy", "VaultService/UpdateBackupExpiration"
LIST = "BackupService/ListBackups"
RUN, BROKEN, BY_HAND = "run", "broken run", "by hand"


@dataclass(frozen=True)
class Case:
    """`history`: how the backups came to be, oldest first; `suspended`: how many of the resources
    are taken out of the policy's runs; `before`: the definition that is in force then.
    """

    history: tuple[str, ...]
    most: int
    resources: int = 2
    suspended: int = 0
    before: dict[str, object] = field(default_factory=lambda: {"max_backups": 10})


CASES = {
    "fewer": Case((RUN,) * 5, 2),
    "one": Case((RUN,) * 2, 1),
    "as many as there are": Case((RUN,) * 3, 3),
    "one more than there are": Case((RUN,) * 3, 4),
    "failed ones only": Case((BROKEN,) * 3, 1),
    "failed ones between": Case((RUN, BROKEN, RUN, BROKEN, RUN), 2),
    "made by hand": Case((BY_HAND, RUN, BY_HAND, RUN), 1),
    "no limit before": Case((RUN,) * 3, 2, before={"max_backups": -1}),
    "by age before": Case((RUN,) * 3, 2, before={"retention_duration_days": 30}),
    "not all in the run": Case((RUN,) * 3, 2, suspended=1),
    "none in the run": Case((RUN,) * 3, 2, suspended=2),
}


async def bound(call, definition, resources):
    wish = stage.policy_request()["policy"] | {"operation_definition": definition}
    policy = (await call.ok("PolicyService/CreatePolicy", {"policy": wish})).policy
    vault = await stage.vault(call, resources)
    names = {"vault_id": vault.id, "policy_id": policy.id}
    await call.ok("VaultService/AssociateVaultPolicy", names)
    return policy, vault


def run(state, policy):
    """With all that follows from it: a task that ends may start others."""
    actions.run_policy(state, policy.id)
    for _ in range(3):
        state.world.tasks.settle()


async def happen(world, call, policy, vault, what):
    state = world.emulator.state
    if what == BY_HAND:
        await call.ok("CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault.id}})
    else:
        if what == BROKEN:
            state.faults.add({"kind": "task_failed", "match": {"operation": RUN_POLICY}})
        run(state, policy)
        state.faults.remove()
    state.world.clock.step(60)


async def ids(call, vault):
    return {row.id for row in (await call.ok(LIST, {"vault_id": vault.id})).backups}


def keeping(policy, definition, **more):
    return {"policy_id": policy.id, "policy": {"operation_definition": definition}, **more}


async def staged(world, call, case):
    policy, vault = await bound(call, case.before, case.resources)
    for what in case.history:
        await happen(world, call, policy, vault, what)
    resources = world.emulator.state.world.vaults[vault.id].resources.values()
    for each in list(resources)[: case.suspended]:
        each.auto_protect = False
    return policy, vault


@pytest.mark.parametrize("name", CASES)
async def test_a_run_deletes_what_was_foreseen_of_it(world, payments, name):
    case = CASES[name]
    policy, vault = await staged(world, payments, case)
    before, wish = await ids(payments, vault), keeping(policy, {"max_backups": case.most})
    told = await payments.ok(UPDATE, wish | {"validate_only": True, "force": True})
    foreseen = {each for loss in told.validation.losses for each in loss.ids}
    assert sum(loss.count for loss in told.validation.losses) == len(foreseen)
    if foreseen:
        refused = await payments.fails(UPDATE, wish)
        assert (refused.reason, refused.facts["backups"]) == (
            "RETENTION_SHORTENED",
            str(len(foreseen)),
        )
    await payments.ok(UPDATE, wish | ({"force": True} if foreseen else {}))
    run(world.emulator.state, policy)
    assert before - await ids(payments, vault) == foreseen


LADDER = {"day_backups": 3, "timezone": "UTC+08:00"}
RULES = {"advanced_retention_rules": {"weekly_retention_rules": {"days_of_week": ["MO"]}}}


@pytest.mark.parametrize("kept", [LADDER, RULES])
@pytest.mark.parametrize("before", [True, False])
async def test_which_go_is_unknown_where_others_are_kept_long_term(world, payments, kept, before):
    more = kept if before else {}
    policy, vault = await bound(payments, {"max_backups": 10} | more, 1)
    for _ in range(3):
        await happen(world, payments, policy, vault, RUN)
    wish = keeping(policy, {"max_backups": 2} | ({} if before else kept))
    refused = await payments.fails(UPDATE, wish)
    assert (refused.reason, refused.facts["backups"]) == ("RETENTION_SHORTENED", "unknown")
    assert "an unknown number of backups" in refused.message
    told = await payments.ok(UPDATE, wish | {"validate_only": True, "force": True})
    (loss,) = told.validation.losses
    assert (loss.kind, loss.unknown, loss.count, list(loss.ids)) == ("backup", True, 0, [])
    none = keeping(policy, {"max_backups": 4} | ({} if before else kept), validate_only=True)
    assert not (await payments.ok(UPDATE, none)).validation.losses


async def test_a_backup_at_work_makes_it_unknown_which_go(world, payments):
    policy, vault = await bound(payments, {"max_backups": 10}, 1)
    for _ in range(3):
        await happen(world, payments, policy, vault, RUN)
    state = world.emulator.state.world
    next(iter(state.backups_in(vault.id))).status = "restoring"
    wish = keeping(policy, {"max_backups": 2}, validate_only=True, force=True)
    (loss,) = (await payments.ok(UPDATE, wish)).validation.losses
    assert loss.unknown


async def test_backups_that_expire_sooner_are_those_that_are_changed(world, payments):
    policy, vault = await bound(payments, {"max_backups": 10}, 2)
    for what in (RUN, BROKEN, RUN):
        await happen(world, payments, policy, vault, what)
    wish = {
        "vault_id": vault.id,
        "expiration_date": {"year": 2999, "month": 1, "day": 1},
        "time_zone": "UTC+08:00",
    }
    (loss,) = (await payments.ok(EXPIRE, wish | {"validate_only": True})).validation.losses
    done = await payments.ok(EXPIRE, wish)
    assert loss.count == done.affected_backups_count == 4
    rows = (await payments.ok(LIST, {"vault_id": vault.id})).backups
    assert {row.id for row in rows if row.HasField("expire_time")} == set(loss.ids)
