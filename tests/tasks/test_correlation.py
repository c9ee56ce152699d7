"""Which tasks fit a change, where neither the emulator nor luck would bring the case about."""

import pytest
from cbrgateway.v1 import checkpoint_pb2, task_pb2, types_pb2

from gateway.changes.correlation import (
    ALWAYS,
    AMBIGUOUS,
    CORRELATING,
    NOT_STARTED,
    RESOLVED,
    Claim,
    at_once,
    hits,
    judge,
)
from gateway.operations import TRAITS
from gateway.upstream.task_search import Search

NOW = 1_738_310_950
REMOVAL = Search((task_pb2.TASK_TYPE_REMOVE_RESOURCE,), ("r1",), vault_id="v")
MINE = Claim("mine", REMOVAL, NOW, sent=NOW)

SEARCHES = {each.rpc: each.search for each in TRAITS if each.search}


def task(name, *resources, at=NOW, **more):
    details = {
        "resource": {"id": resources[0]},
        "remove_resources": {"resources": [{"id": each} for each in resources]},
    }
    return task_pb2.Task(
        id=name,
        type="TASK_TYPE_REMOVE_RESOURCE",
        vault_id="v",
        create_time={"seconds": at},
        details=details,
        **more,
    )


def found(own, tasks, *others, settled=False, given_up=False):
    finding = judge(own, hits(own, tasks, others), settled=settled, given_up=given_up)
    return finding.state, finding.task_ids


def test_the_one_task_that_fits_is_the_changes_own():
    others = [
        task("other vault", "r1"),
        task("other resource", "r2"),
        task("earlier", "r1", at=NOW - 2),
        task("of a policy", "r1", policy_id="p"),
    ]
    others[0].vault_id = "w"
    assert found(MINE, [*others, task("t", "r1")]) == (RESOLVED, ("t",))
    assert found(MINE, others) == (CORRELATING, ())
    assert found(MINE, others, given_up=True) == (RESOLVED, ())


def test_what_fits_a_change_of_which_nobody_knows_when_it_began_may_be_older():
    unknown = Claim("mine", REMOVAL, ALWAYS)
    assert found(unknown, [task("t", "r1")], settled=True) == (AMBIGUOUS, ("t",))
    named = Claim("mine", Search(REMOVAL.kinds, ("r1",), named=("t",)), ALWAYS)
    assert found(named, [task("t", "r1"), task("u", "r1")]) == (RESOLVED, ("t",))
    assert found(MINE, [task("t", "r1")], Claim("rival", REMOVAL, ALWAYS)) == (AMBIGUOUS, ("t",))


def test_every_subject_needs_its_task():
    both = Claim("mine", Search(REMOVAL.kinds, ("r1", "r2"), vault_id="v"), NOW)
    assert found(both, [task("t1", "r1")]) == (CORRELATING, ("t1",))
    assert found(both, [task("t2", "r2", at=NOW + 1), task("t1", "r1")]) == (RESOLVED, ("t1", "t2"))
    assert found(both, [task("t", "r1", "r2")]) == (RESOLVED, ("t",))
    assert found(both, [task("t", "r1", "r2"), task("t1", "r1")]) == (AMBIGUOUS, ("t", "t1"))


def test_a_task_that_another_change_can_have_started_is_nobodys_own():
    """Only one of two tasks is listed yet: who took it for his own would be wrong every other
    time.
    """
    tasks = [task("t", "r1")]
    assert found(MINE, tasks, Claim("rival", REMOVAL, NOW + 1)) == (AMBIGUOUS, ("t",))
    assert found(
        MINE, tasks, Claim("elsewhere", Search(REMOVAL.kinds, ("r9",), vault_id="v"), NOW)
    ) == (RESOLVED, ("t",))
    assert found(MINE, tasks, Claim("later", REMOVAL, NOW + 100)) == (RESOLVED, ("t",))


def test_while_a_rivals_outcome_is_open_nothing_is_said():
    tasks, rival = [task("t", "r1")], Claim("rival", REMOVAL, NOW, open=True)
    assert found(MINE, tasks, rival) == (CORRELATING, ())
    assert found(MINE, tasks, rival, given_up=True) == (AMBIGUOUS, ("t",))


def test_what_is_anothers_for_sure_is_left_out():
    tasks = [task("t", "r1"), task("u", "r1")]
    named = Claim(
        "named", Search(REMOVAL.kinds, named=("t",)), NOW, found_at=NOW + 5, task_ids=("t",)
    )
    assert found(MINE, tasks, named) == (RESOLVED, ("u",))
    before = Claim("before", REMOVAL, NOW - 9, found_at=NOW - 1, task_ids=("t",))
    assert found(MINE, tasks, before) == (RESOLVED, ("u",))
    meanwhile = Claim("meanwhile", REMOVAL, NOW - 9, found_at=NOW + 1, task_ids=("t",))
    assert found(MINE, tasks, meanwhile) == (AMBIGUOUS, ("t", "u"))


def test_where_the_number_is_open_the_time_decides():
    moved = Claim(
        "mine",
        Search(
            (task_pb2.TASK_TYPE_MIGRATE_RESOURCES,), ("r1", "r2"), countable=False, vault_id="v"
        ),
        NOW,
    )
    move = task("t", "r1")
    move.type = task_pb2.TASK_TYPE_MIGRATE_RESOURCES
    assert found(moved, [move]) == (CORRELATING, ("t",))
    assert found(moved, [move], settled=True) == (RESOLVED, ("t",))
    assert found(moved, [], settled=True) == (CORRELATING, ())


def checkpoint(*skipped, asked=()):
    request = checkpoint_pb2.CreateCheckpointRequest(
        checkpoint={"vault_id": "v", "parameters": {"resource_ids": asked}}
    )
    vault = {
        "resources": [{"id": "r1"}, {"id": "r2"}],
        "skipped_resources": [{"id": each} for each in skipped],
    }
    answer = checkpoint_pb2.CreateCheckpointResponse(checkpoint={"id": "c", "vault": vault})
    return SEARCHES["CheckpointService/CreateCheckpoint"](request, answer)


@pytest.mark.parametrize(
    ("skipped", "asked", "wanted"),
    [
        ((), (), ("r1", "r2")),
        (("r1",), (), ("r2",)),
        ((), ("r2",), ("r2",)),
        (("r1", "r2"), (), ()),
    ],
)
def test_resources_that_were_skipped_have_no_task(skipped, asked, wanted):
    search = checkpoint(*skipped, asked=asked)
    assert (search.subjects, search.checkpoint_id) == (wanted, "c")
    state = at_once(search, [types_pb2.SkippedResource(id=each) for each in skipped]).state
    assert state == (CORRELATING if wanted else NOT_STARTED)


def test_a_task_of_a_resource_that_was_left_out_is_told_from_other_backups():
    search = checkpoint("r1", asked=("r1", "r2"))
    skipped = {"type": "TASK_TYPE_BACKUP", "status": "TASK_STATUS_SKIPPED", "vault_id": "v"}
    assert search.leaves_out(task_pb2.Task(**skipped))
    for other in (
        {"status": "TASK_STATUS_FAILED"},
        {"type": "TASK_TYPE_DELETE"},
        {"vault_id": "w"},
        {"policy_id": "p"},
        {"checkpoint_id": "c"},
    ):
        assert not search.leaves_out(task_pb2.Task(**skipped | other)), other
