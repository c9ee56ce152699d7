"""Turns of tenants that wait: who is served, and in which order."""

from collections import Counter

import pytest

from gateway.rpc.fair_queue import TURN_UNITS, FairQueue, Waiting


def queue_of(*lines, cost=1, **weights):
    """`lines`: a tenant and how many of its calls wait; those of each since 0, 1, 2, ..."""
    queue = FairQueue()
    for tenant, count in lines:
        for number in range(count):
            queue.put(Waiting(tenant, weights.get(tenant, 1), cost, number, 1e9, None))
    return queue


def served(queue, count, may=lambda _: True, fresh_since=0):
    return [queue.next(may, fresh_since) for _ in range(count)]


def tenants(calls):
    return Counter(call.tenant for call in calls)


def test_tenants_take_turns_however_many_of_their_calls_wait():
    queue = queue_of(("noisy", 1000), ("quiet", 15), ("other", 400))
    assert tenants(served(queue, 3 * TURN_UNITS)) == dict.fromkeys(
        ("noisy", "quiet", "other"), TURN_UNITS
    )
    assert tenants(served(queue, 25)) == {"noisy": 10, "quiet": 5, "other": 10}
    assert "quiet" not in queue
    assert queue.length == 1415 - 3 * TURN_UNITS - 25


def test_who_comes_last_waits_for_one_turn_of_each_other():
    queue = queue_of(("a", 100), ("b", 100))
    served(queue, 5)
    queue.put(Waiting("late", 1, 1, 0, 1e9, None))
    order = [call.tenant for call in served(queue, 2 * TURN_UNITS)]
    assert order.index("late") == 5 + TURN_UNITS


@pytest.mark.parametrize("weight", [2, 5])
def test_a_weight_is_so_many_turns_for_one(weight):
    queue = queue_of(("heavy", 1000), ("light", 1000), heavy=weight)
    found = tenants(served(queue, TURN_UNITS * (weight + 1) * 3))
    assert found == {"heavy": 3 * weight * TURN_UNITS, "light": 3 * TURN_UNITS}


def test_dear_calls_are_fewer_for_the_same_share():
    queue = queue_of(("reads", 1000))
    for number in range(1000):
        queue.put(Waiting("changes", 1, 5, number, 1e9, None))
    assert tenants(served(queue, 120)) == {"reads": 100, "changes": 20}


def test_a_call_dearer_than_what_is_left_waits_for_the_next_turn_and_not_longer():
    queue = FairQueue()
    for number, cost in enumerate((7, 7, 7)):
        queue.put(Waiting("odd", 1, cost, number, 1e9, None))
    for number in range(40):
        queue.put(Waiting("even", 1, 1, number, 1e9, None))
    order = [call.tenant for call in served(queue, 43)]
    assert order[:11] == ["odd"] + ["even"] * 10
    assert order.count("odd") == 3
    assert [at for at, tenant in enumerate(order) if tenant == "odd"] == [0, 11, 22]


def test_who_may_not_is_passed_over_and_keeps_its_place():
    queue = queue_of(("full", 3), ("free", 2))
    assert tenants(served(queue, 2, lambda tenant: tenant == "free")) == {"free": 2}
    assert queue.next(lambda tenant: tenant == "free", 0) is None
    assert tenants(served(queue, 3)) == {"full": 3}
    assert queue.next(lambda _: True, 0) is None


def test_the_oldest_is_first_while_it_is_fresh_and_the_newest_when_it_is_not():
    queue = queue_of(("one", 5))
    assert [call.since for call in served(queue, 2)] == [0, 1]
    assert [call.since for call in served(queue, 2, fresh_since=3)] == [4, 3]
    assert [call.since for call in served(queue, 1, fresh_since=2)] == [2]


def test_the_first_to_go_is_the_oldest_of_who_has_most_for_its_weight():
    queue = queue_of(("light", 6), ("heavy", 10), heavy=2)
    gone = queue.crowded()
    assert (gone.tenant, gone.since) == ("light", 0)
    queue.discard(gone)
    assert queue.crowded().since == 1
    queue.discard(queue.crowded())
    assert (queue.crowded().tenant, queue.crowded().since) == ("heavy", 0)
