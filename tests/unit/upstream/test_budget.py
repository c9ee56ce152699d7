"""The retry budget."""

from contextlib import ExitStack

from gateway.upstream.budget import RetryBudget
from gateway.upstream.retry import RetryKind


def spend(budget, kind):
    """Retries of one kind, one after the other, until the budget says no."""
    done = 0
    while budget.take(kind):
        budget.retry_ended()
        done += 1
    return done


def test_the_bucket_pays_for_a_fixed_number_of_retries():
    assert spend(RetryBudget(), RetryKind.TRANSIENT) == 500 // 14
    assert spend(RetryBudget(), RetryKind.THROTTLED) == 500 // 5


def test_first_try_successes_refill_it_up_to_its_size():
    budget = RetryBudget()
    budget.first_try_succeeded()
    assert budget.tokens == 500
    spend(budget, RetryKind.TRANSIENT)
    for _ in range(14):
        budget.first_try_succeeded()
    assert spend(budget, RetryKind.TRANSIENT) == 1


def test_three_retries_at_once_are_always_allowed_and_more_only_as_a_tenth_of_the_calls():
    budget = RetryBudget()
    with budget.call():
        assert [budget.take(RetryKind.TRANSIENT) for _ in range(4)] == [True, True, True, False]
    budget.retry_ended()
    assert budget.take(RetryKind.TRANSIENT)
    with ExitStack() as calls:
        for _ in range(50):
            calls.enter_context(budget.call())
        assert [budget.take(RetryKind.TRANSIENT) for _ in range(3)] == [True, True, False]


def test_a_refused_retry_costs_nothing():
    budget = RetryBudget()
    for _ in range(3):
        budget.take(RetryKind.TRANSIENT)
    left = budget.tokens
    assert not budget.take(RetryKind.TRANSIENT)
    assert budget.tokens == left


def test_under_total_failure_attempts_are_a_tenth_more_than_calls_and_a_fixed_start():
    budget = RetryBudget()
    calls = 2000
    retries = 0
    for _ in range(calls):
        with budget.call():
            if budget.take(RetryKind.TRANSIENT):
                retries += 1
                budget.retry_ended()
    assert retries <= 0.1 * calls + 500 / 14
