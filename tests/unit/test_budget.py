"""The budget of benchmarks/budget.toml: what a call may take in functions, coroutines, tasks,
wake-ups and socket calls. No time is measured.
"""

from dataclasses import replace

import pytest

from benchmarks import processes
from benchmarks.counts import WORKLOADS, Counts, budget, measured, of_call, over, serving


@pytest.mark.timeout(90)
async def test_no_call_takes_more_than_its_budget():
    for _ in range(3):
        # What comes by chance, such as a new second, only adds.
        if not (too_much := over(await measured(), budget())):
            return
    pytest.fail("; ".join(too_much))


async def test_tracing_takes_a_few_functions_of_a_call_that_is_not_recorded():
    with processes.module("stub", core=processes.LOAD_CORE) as stub:
        plain = processes.configuration(stub.address, "httptools")
        traced = {"endpoint": "http://127.0.0.1:9", "sample_ratio": 0}
        counts = []
        for config in (plain, {**plain, "tracing": traced}):
            async with serving(config) as (_, calls):
                counts.append((await of_call(calls["get"]))[0])
    off, unrecorded = counts
    assert unrecorded.frames <= off.frames + 9
    assert replace(unrecorded, frames=0) == replace(off, frames=0)


async def test_a_call_more_is_over_the_budget():
    one, two = Counts(frames=1), Counts(frames=2)
    assert over({"get": two}, {"get": one}) == ["get: 2 frames, at most 1 are in the budget"]
    assert over({"get": one}, {"get": one}) == over({"get": one}, {"get": two}) == []


async def test_functions_and_coroutines_of_the_gateway_are_counted_and_no_others():
    from gateway.clock import moment  # noqa: PLC0415 - beside its use
    from gateway.rpc.identity import single  # noqa: PLC0415

    async def call():
        moment(1.0)
        single((), "none")

    counts, names = await of_call(call)
    assert counts == Counts(frames=2)
    assert names == ["gateway.clock:moment", "gateway.rpc.identity:single"]


def test_the_budget_has_every_workload():
    assert set(budget()) == set(WORKLOADS)
    assert all(replace(counts, frames=0) != counts for counts in budget().values())
