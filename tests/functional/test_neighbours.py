"""What one object, operation, project or tenant does is booked on itself: its neighbours at the
same endpoint do not notice. Over real sockets.
"""

import asyncio
from typing import Any

import pytest

from emulator.settings import (
    DATABASES_PROJECT_ID,
    PAYMENTS_PROJECT_ID,
    RESEARCH_PROJECT_ID,
    STANDBY_PROJECT_ID,
)
from gateway.upstream import client as client_module
from gateway.upstream import retry
from tests.functional import stage
from tests.functional.calls import Caller, Failure, arrived, caller, until
from tests.harness import World

GET, LIST, SUMMARY, UPDATE = (
    f"VaultService/{name}" for name in ("GetVault", "ListVaults", "GetVaultSummary", "UpdateVault")
)
POLICIES, CREATE, DELETE_TAG = (
    "PolicyService/ListPolicies",
    "PolicyService/CreatePolicy",
    "VaultService/DeleteVaultTag",
)
SICK_CALLS, WELL_CALLS = 80, 48
Call = tuple[Caller, str, dict[str, Any]]


def order(world: World, match: dict[str, str]) -> None:
    world.emulator.state.faults.add(
        {"kind": "status", "status": 500, "body": {}, "match": match, "times": None}
    )


async def make(calls: list[Call], count: int) -> list[Any]:
    """That many calls, the given ones in turn, some at once."""
    gate = asyncio.Semaphore(6)

    async def one(call: Call) -> Any:
        async with gate:
            client, rpc, fields = call
            return await client(rpc, fields)

    return await asyncio.gather(*(one(calls[number % len(calls)]) for number in range(count)))


async def neighbours(
    world: World, match: dict[str, str], sick: list[Call], well: list[Call]
) -> Failure:
    """Makes what is sick fail until it is held back, then calls the others; the refusal that the
    sick get meanwhile.
    """
    order(world, match)
    failed = await make(sick, SICK_CALLS)
    assert all(isinstance(answer, Failure) for answer in failed)
    answers = await make(well, WELL_CALLS)
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    held = [answer for answer in failed if answer.facts.get("heldBack")]
    assert held, "what is sick is held back"
    assert "repeat it in" in held[0].message
    assert held[0].details["RetryInfo"].retry_delay.ToMilliseconds() >= 1000
    return held[0]


@pytest.fixture
async def stages(world: World) -> dict[str, Any]:
    """Vaults of two tenants, and those tenants."""
    a, b = caller(world, "payments"), caller(world, "databases")
    vaults = {f"a{number}": (await stage.vault(a, name=f"a{number}")).id for number in range(4)}
    return {"a": a, "b": b, **vaults, "b0": (await stage.vault(b, name="b0")).id}


def rename(client: Caller, vault_id: str) -> Call:
    return client, UPDATE, {"vault_id": vault_id, "vault": {"name": f"n{vault_id[:8]}"}}


async def test_one_object_that_cannot_be_read(world, stages):
    a, b = stages["a"], stages["b"]
    sick = [(a, GET, {"vault_id": stages["a0"]})]
    well = [
        (a, GET, {"vault_id": stages["a1"]}),
        (a, LIST, {}),
        (b, GET, {"vault_id": stages["b0"]}),
        (b, LIST, {}),
        (b, SUMMARY, {}),
    ]
    held = await neighbours(world, {"operation": "ShowVault", "object": stages["a0"]}, sick, well)
    assert held.facts["heldBack"] == "object"
    assert "ShowVault of this object" in held.message


async def test_one_object_that_cannot_be_changed(world, stages):
    a, b = stages["a"], stages["b"]
    well = [
        rename(a, stages["a1"]),
        rename(b, stages["b0"]),
        (a, LIST, {}),
        (b, GET, {"vault_id": stages["b0"]}),
    ]
    held = await neighbours(
        world, {"method": "PUT", "object": stages["a0"]}, [rename(a, stages["a0"])], well
    )
    assert held.facts["heldBack"] == "object"


async def test_one_operation_that_reads(world, stages):
    a, b = stages["a"], stages["b"]
    sick = [(a, GET, {"vault_id": stages[f"a{number}"]}) for number in range(4)]
    well = [(a, LIST, {}), (b, LIST, {}), (b, SUMMARY, {}), rename(b, stages["b0"])]
    held = await neighbours(world, {"operation": "ShowVault"}, sick, well)
    assert held.facts["heldBack"] in {"operation", "object"}


async def test_one_operation_that_changes(world, stages):
    a, b = stages["a"], stages["b"]
    sick = [(b, CREATE, stage.policy_request())]
    well = [
        (a, LIST, {}),
        (b, LIST, {}),
        (b, POLICIES, {}),
        rename(b, stages["b0"]),
        rename(a, stages["a0"]),
    ]
    held = await neighbours(world, {"operation": "CreatePolicy"}, sick, well)
    assert held.facts["heldBack"] == "operation"
    assert "CreatePolicy in this project" in held.message


async def test_one_project(world, stages):
    a, b = stages["a"], stages["b"]
    sick = [
        (a, GET, {"vault_id": stages["a0"]}),
        (a, LIST, {}),
        (a, POLICIES, {}),
        rename(a, stages["a1"]),
    ]
    well = [
        (b, GET, {"vault_id": stages["b0"]}),
        (b, LIST, {}),
        (b, POLICIES, {}),
        rename(b, stages["b0"]),
    ]
    held = await neighbours(world, {"project_id": PAYMENTS_PROJECT_ID}, sick, well)
    assert held.facts["heldBack"] in {"project", "operation", "object"}


async def test_two_tenants_that_fail_alone_hold_nobody_else_back(world, stages):
    """All that was heard of the endpoint lately; the others come with many calls at once."""
    for project in (PAYMENTS_PROJECT_ID, DATABASES_PROJECT_ID):
        order(world, {"project_id": project})
    sick = [(stages[who], rpc, {}) for rpc in (LIST, POLICIES, SUMMARY) for who in "ab"]
    async with asyncio.timeout(60):
        while "endpoint" not in {each.facts.get("heldBack") for each in await make(sick, 12)}:
            pass
    for project in (RESEARCH_PROJECT_ID, STANDBY_PROJECT_ID):
        slow = {"kind": "delay", "seconds": 0.5, "match": {"project_id": project}, "times": None}
        world.emulator.state.faults.add(slow)
    answers = await asyncio.gather(
        *(caller(world, who)(LIST, {}) for who in ("admin", "standby") for _ in range(12))
    )
    assert not [answer for answer in answers if isinstance(answer, Failure)]


async def test_a_sick_object_leaves_the_others_their_retries(world, stages):
    """Each first attempt of the others is lost; the sick one has tried to spend all retries that
    there are.
    """
    a, b = stages["a"], stages["b"]
    order(world, {"operation": "ShowVault", "object": stages["a0"]})
    await make([(a, GET, {"vault_id": stages["a0"]})], SICK_CALLS)
    for client, vault in ((a, stages["a1"]), (b, stages["b0"])):
        for _ in range(5):
            world.emulator.state.faults.add(
                {"kind": "cut", "match": {"operation": "ShowVault", "object": vault}}
            )
            before = len(arrived(world, GET))
            await client.ok(GET, {"vault_id": vault})
            assert len(arrived(world, GET)) == before + 2


async def test_slow_answers_to_some_tenants_leave_connections_for_the_others(
    world, stages, monkeypatch
):
    """They are successes, which no breaker sees."""
    monkeypatch.setattr(retry, "MAX_ATTEMPT_S", 600.0)
    monkeypatch.setattr(client_module, "READ_CAP_S", 600.0)
    well = caller(world, "standby")
    for vault in ("a0", "b0"):
        slow = {
            "kind": "delay",
            "seconds": 300,
            "match": {"operation": "ShowVault", "object": stages[vault]},
            "times": None,
        }
        world.emulator.state.faults.add(slow)
    sick = [(stages["a"], stages["a0"]), (stages["b"], stages["b0"])] * 65
    waiting = [
        asyncio.create_task(client(GET, {"vault_id": vault}, timeout_s=300))
        for client, vault in sick
    ]
    await until(lambda: len(arrived(world, GET)) >= 60)
    answers = [await well(LIST) for _ in range(10)]
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    assert not any(task.done() for task in waiting), "the slow ones hold what they have"
    assert len(arrived(world, GET)) <= 76, "a quarter of 150 each"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
