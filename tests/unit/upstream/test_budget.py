"""The retry budget."""

from contextlib import ExitStack

from gateway.upstream.budget import ENDPOINT, OBJECT, PROJECT, TENANT, Budgets, RetryBudget
from gateway.upstream.retry import RetryKind
from gateway.upstream.target import Target


def spend(budget, kind):
    """Retries of one kind, one after the other, until the budget says no."""
    done = 0
    while budget.take(kind):
        budget.retry_ended()
        done += 1
    return done


def test_the_bucket_pays_for_a_fixed_number_of_retries():
    assert spend(RetryBudget(TENANT), RetryKind.TRANSIENT) == 500 // 14
    assert spend(RetryBudget(TENANT), RetryKind.THROTTLED) == 500 // 5


def test_first_try_successes_refill_it_up_to_its_size():
    budget = RetryBudget(TENANT)
    budget.first_try_succeeded()
    assert budget.tokens == 500
    spend(budget, RetryKind.TRANSIENT)
    for _ in range(14):
        budget.first_try_succeeded()
    assert spend(budget, RetryKind.TRANSIENT) == 1


def test_three_retries_at_once_are_always_allowed_and_more_only_as_a_tenth_of_the_calls():
    budget = RetryBudget(PROJECT)
    with budget:
        assert [budget.take(RetryKind.TRANSIENT) for _ in range(4)] == [True, True, True, False]
    budget.retry_ended()
    assert budget.take(RetryKind.TRANSIENT)
    with ExitStack() as calls:
        for _ in range(50):
            calls.enter_context(budget)
        assert [budget.take(RetryKind.TRANSIENT) for _ in range(3)] == [True, True, False]


def test_a_refused_retry_costs_nothing():
    budget = RetryBudget(PROJECT)
    for _ in range(3):
        budget.take(RetryKind.TRANSIENT)
    left = budget.tokens
    assert not budget.take(RetryKind.TRANSIENT)
    assert budget.tokens == left


def test_under_total_failure_attempts_are_a_tenth_more_than_calls_and_a_fixed_start():
    budget = RetryBudget(TENANT)
    calls = 2000
    retries = 0
    for _ in range(calls):
        with budget:
            if budget.take(RetryKind.TRANSIENT):
                retries += 1
                budget.retry_ended()
    assert retries <= 0.1 * calls + 500 / 14


def target(tenant="a", obj="", operation="ShowVault", project="p"):
    return Target("e", tenant, project, operation, obj)


def test_an_object_cannot_spend_what_its_project_and_others_need():
    budgets = Budgets()
    assert spend(budgets.of(target(obj="sick")), RetryKind.TRANSIENT) == OBJECT.tokens // 14
    assert budgets.of(target(obj="sick")).tokens < 14
    assert spend(budgets.of(target(obj="other")), RetryKind.TRANSIENT) == OBJECT.tokens // 14
    assert (
        budgets.of(target(operation="ListVault")).tokens
        == PROJECT.tokens - 2 * (OBJECT.tokens // 14) * 14
    )


def test_a_project_cannot_spend_what_the_others_of_its_tenant_need():
    budgets = Budgets()
    assert spend(budgets.of(target()), RetryKind.TRANSIENT) == PROJECT.tokens // 14
    left = (TENANT.tokens - PROJECT.tokens // 14 * 14) // 14
    assert spend(budgets.of(target(project="other")), RetryKind.TRANSIENT) == left > 5


def test_a_tenant_cannot_spend_what_the_others_need():
    budgets = Budgets()
    spent = [
        sum(
            spend(budgets.of(target(tenant, project=name)), RetryKind.TRANSIENT)
            for name in ("p", "q")
        )
        for tenant in ("a", "b")
    ]
    assert spent == 2 * [TENANT.tokens // 14]


def test_all_tenants_together_spend_no_more_than_the_endpoint_has():
    budgets = Budgets()
    done = sum(
        spend(budgets.of(target(f"tenant-{number}", "x")), RetryKind.TRANSIENT)
        for number in range(100)
    )
    assert done == ENDPOINT.tokens // 14


def test_slow_retries_of_one_object_leave_places_to_its_tenant_and_to_the_others():
    budgets = Budgets()
    for name, places in (("sick", 2), ("other", 1)):
        assert [budgets.of(target(obj=name)).take(RetryKind.TRANSIENT) for _ in range(3)].count(
            True
        ) == places
    elsewhere = budgets.of(target(project="other"))
    assert [elsewhere.take(RetryKind.TRANSIENT) for _ in range(3)].count(True) == 1
    assert [budgets.of(target("b")).take(RetryKind.TRANSIENT) for _ in range(4)].count(True) == 2


def test_a_first_try_that_succeeds_pays_back_to_all():
    budgets = Budgets()
    sick = budgets.of(target(obj="x"))
    spend(sick, RetryKind.TRANSIENT)
    before = (sick.tokens, budgets.of(target()).tokens)
    sick.first_try_succeeded()
    assert (sick.tokens, budgets.of(target()).tokens) == (before[0] + 1, before[1] + 1)


def test_many_objects_take_a_bounded_memory():
    budgets = Budgets()
    for number in range(3000):
        budgets.of(target(obj=str(number)))
    assert len(budgets._objects) <= 1024
