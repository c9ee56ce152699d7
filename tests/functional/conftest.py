"""One gateway before one emulator for all tests of a module; each test finds both as new."""

from collections.abc import AsyncIterator

import pytest

from emulator.transitions import Mode, Pace
from tests.functional.calls import Caller, caller, forget
from tests.harness import World, running_gateway


@pytest.fixture(scope="module")
async def shared_world() -> AsyncIterator[World]:
    async with running_gateway(pace=Pace(Mode.IMMEDIATE)) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.emulator.state.reset()
    forget(shared_world.app)
    return shared_world


@pytest.fixture
def payments(world: World) -> Caller:
    return caller(world)
