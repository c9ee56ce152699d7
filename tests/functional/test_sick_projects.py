"""One project that is sick takes its own part of connections, queue, retries and breakers: the
other project of its tenant, and other tenants, are served as ever. By counts, over real sockets.
"""

import asyncio

import pytest

from emulator.settings import DATABASES_PROJECT_ID, PAYMENTS_PROJECT_ID, RESEARCH_PROJECT_ID
from gateway.upstream import client as client_module
from gateway.upstream import retry
from tests.functional.calls import Failure, arrived, caller, order, until
from tests.harness import running_gateway, tenant_entry

LIST = "VaultService/ListVaults"
PLACES = 12
SICK_CALLS, WELL_CALLS = 20, 10


def faults():
    hang = {"kind": "delay", "seconds": 600}
    drip = {"kind": "drip", "chunk_bytes": 1, "seconds": 60}
    return {
        "hangs": hang,
        "503": {"kind": "status", "status": 503, "body": {}},
        "429": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": {}},
        "drips": drip,
    }


def two_projects():
    """Payments with a second project, and others with one each."""
    payments = tenant_entry("payments")
    other = payments["projects"][0] | {"id": DATABASES_PROJECT_ID}
    return [payments | {"projects": [*payments["projects"], other]}, tenant_entry("admin")]


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(retry, "MAX_ATTEMPT_S", 600.0)
    monkeypatch.setattr(client_module, "READ_CAP_S", 600.0)
    sections = {"tenants": two_projects()}
    async with running_gateway(sections=sections) as running:
        places = running.app.client.factory._shares
        places.max_connections = PLACES
        yield running


@pytest.mark.parametrize("fault", sorted(faults()))
async def test_the_others_are_served_as_ever(world, fault):
    kind = faults()[fault]
    order(
        world,
        kind["kind"],
        match={"project_id": PAYMENTS_PROJECT_ID},
        times=None,
        **{key: value for key, value in kind.items() if key != "kind"},
    )
    sick = caller(world)
    well = [
        caller(world, "payments", ("x-cbr-project-id", DATABASES_PROJECT_ID)),
        caller(world, "admin"),
    ]
    ill = [asyncio.create_task(sick(LIST, {}, timeout_s=60)) for _ in range(SICK_CALLS)]
    try:
        await until(lambda: of(world, PAYMENTS_PROJECT_ID) >= PLACES // 3)
        answers = [await each(LIST, {}, timeout_s=60) for each in well for _ in range(WELL_CALLS)]
        assert not [answer for answer in answers if isinstance(answer, Failure)]
        assert of(world, DATABASES_PROJECT_ID) == of(world, RESEARCH_PROJECT_ID) == WELL_CALLS
        if fault in {"hangs", "drips"}:
            assert of(world, PAYMENTS_PROJECT_ID) == PLACES // 3, "the others of it wait"
    finally:
        for task in ill:
            task.cancel()
        await asyncio.gather(*ill, return_exceptions=True)


def of(world, project):
    return sum(entry.project_id == project for entry in arrived(world, LIST))


async def test_each_of_two_projects_that_hang_has_its_part_and_leaves_a_third_its_own(world):
    order(world, "delay", LIST, seconds=600, times=None)
    second = ("x-cbr-project-id", DATABASES_PROJECT_ID)
    parts = {
        PAYMENTS_PROJECT_ID: (caller(world), 4),
        DATABASES_PROJECT_ID: (caller(world, "payments", second), 2),
        RESEARCH_PROJECT_ID: (caller(world, "admin"), 2),
    }
    calls = []
    try:
        for project, (each, part) in parts.items():
            calls += [asyncio.create_task(each(LIST, {}, timeout_s=60)) for _ in range(10)]
            await until(lambda project=project, part=part: of(world, project) == part)
        assert [of(world, project) for project in parts] == [4, 2, 2]
    finally:
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
