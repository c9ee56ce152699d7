"""Which runs are missed, from policies, vaults and tasks as CBR shows them."""

import datetime as dt

import pytest
from cbrgateway.v1 import policy_pb2, task_pb2, types_pb2

from gateway.schedules.missed import expected, missed, runs_of
from gateway.schedules.plans import Progress, plans_of

HOUR, DAY = 3600.0, 86_400.0
START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp()
DUE = START + 3 * HOUR
DAILY = "FREQ=DAILY;INTERVAL=1;BYHOUR=3;BYMINUTE=00"
BACKUP = types_pb2.POLICY_OPERATION_TYPE_BACKUP


def policy(*rules, vaults=("v",), window=0, **more):
    made = policy_pb2.Policy(id="p", name="nightly", operation_type=BACKUP, enabled=True, **more)
    made.trigger.properties.pattern.extend(rules or [DAILY])
    made.trigger.properties.start_time.FromSeconds(int(START))
    if window:
        made.trigger.properties.start_window_minutes = window
    for vault in vaults:
        made.associated_vaults.add(vault_id=vault)
    return made


def vault(uid="v", **resource):
    return types_pb2.Vault(id=uid, resources=[types_pb2.VaultResource(id="r", **resource)])


def task(at, uid="v", policy_id="p", **more):
    made = task_pb2.Task(policy_id=policy_id, vault_id=uid, type=task_pb2.TASK_TYPE_BACKUP)
    made.create_time.FromNanoseconds(int(at * 1e9))
    return made


def dues(policies, vaults, tasks=(), *, now, since=START, grace=HOUR):
    """When runs are missed, in hours after the start, and of which vaults."""
    plans = list(plans_of(policies, vaults, lambda _policy: None))
    progress = Progress(0.0).with_plans(plans, since, 0.0)
    runs = [run for each in plans for run in expected(each, progress.plans["p"], now, grace)]
    found = (missed("x", run, runs_of(tasks)) for run in runs)
    return [((each.due - START) / HOUR, *each.vaults) for each in found if each]


def test_a_run_is_missed_once_its_grace_is_over():
    assert dues([policy()], [vault()], now=DUE + HOUR - 1) == []
    assert dues([policy()], [vault()], now=DUE + HOUR) == [(3, "v")]
    assert dues([policy()], [vault()], now=DUE + DAY + HOUR) == [(3, "v"), (27, "v")]


def test_the_start_window_of_the_policy_comes_before_the_grace():
    slow = policy(window=60)
    assert dues([slow], [vault()], now=DUE + 2 * HOUR - 1) == []
    assert dues([slow], [vault()], now=DUE + 2 * HOUR) == [(3, "v")]
    late = task(DUE + 2 * HOUR - 1)
    assert dues([slow], [vault()], [late], now=DUE + 2 * HOUR) == []


@pytest.mark.parametrize(("at", "came"), [(0, True), (-60, True), (HOUR, True), (HOUR + 1, False)])
def test_a_run_that_came_in_its_time_is_not_missed(at, came):
    found = dues([policy()], [vault()], [task(DUE + at)], now=DUE + 2 * HOUR)
    assert found == ([] if came else [(3, "v")])


def test_what_others_started_is_no_run_of_the_policy():
    others = [task(DUE, policy_id="q"), task(DUE, policy_id=""), task(DUE, uid="w")]
    assert dues([policy()], [vault()], others, now=DUE + HOUR) == [(3, "v")]


def test_only_vaults_that_were_not_backed_up_are_named():
    both = policy(vaults=("v", "w"))
    found = dues([both], [vault(), vault("w")], [task(DUE, uid="w")], now=DUE + HOUR)
    assert found == [(3, "v")]


@pytest.mark.parametrize(
    ("policies", "vaults"),
    [
        ([], [vault()]),
        ([policy(vaults=())], [vault()]),
        ([policy()], []),
        ([policy()], [types_pb2.Vault(id="v")]),
        ([policy()], [vault(auto_protect=False)]),
        ([policy()], [vault(protect_status=types_pb2.PROTECT_STATUS_DELETED)]),
        ([policy("FREQ=HOURLY")], [vault()]),
    ],
)
def test_where_nothing_is_to_be_done_nothing_is_missed(policies, vaults):
    assert dues(policies, vaults, now=DUE + DAY) == []


def test_a_policy_with_a_rule_that_cannot_be_understood_is_named():
    unclear = []
    assert list(plans_of([policy(DAILY, "FREQ=HOURLY")], [vault()], unclear.append)) == []
    assert unclear == ["p"]


def test_a_policy_that_is_off_or_replicates_misses_nothing():
    off, other = policy(), policy()
    off.enabled = False
    other.operation_type = types_pb2.POLICY_OPERATION_TYPE_REPLICATION
    assert dues([off], [vault()], now=DUE + DAY) == []
    assert dues([other], [vault()], now=DUE + DAY) == []


def test_nothing_is_said_of_the_time_before_a_policy_or_vault_was_known():
    assert dues([policy()], [vault()], now=DUE + HOUR, since=DUE + 1) == []
    first = list(plans_of([policy()], [vault()], str))
    later = list(plans_of([policy(vaults=("v", "w"))], [vault(), vault("w")], str))
    changed = list(plans_of([policy(window=90)], [vault()], str))
    before = Progress(0.0).with_plans(first, START, 0.0)
    (run,) = expected(later[0], before.with_plans(later, DUE + 9, 0.0).plans["p"], DUE + HOUR, 60)
    assert run.vaults == ("v",)
    known = before.with_plans(changed, DUE + 9, 0.0).plans["p"]
    assert expected(changed[0], known, DUE + DAY / 2, 60) == []
    again = before.with_plans([], DUE - 9, 0.0).with_plans(first, DUE + 9, 0.0)
    assert expected(first[0], again.plans["p"], DUE + HOUR, 60) == []


def test_an_interval_that_cbr_counts_from_another_day_raises_no_alarm():
    every_third = policy("FREQ=DAILY;INTERVAL=3;BYHOUR=3;BYMINUTE=00")
    now = DUE + 3 * DAY + HOUR
    shifted = [task(DUE + 2 * DAY)]
    assert dues([every_third], [vault()], shifted, now=now, since=DUE + 1) == []
    assert dues([every_third], [vault()], [task(DUE)], now=now, since=DUE + 1) == [(75, "v")]
