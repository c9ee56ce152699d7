"""One gateway before one emulator for all tests of a module; each test finds both as new."""

import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from emulator.transitions import Mode, Pace
from gateway import telemetry
from gateway.telemetry import LogSettings
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


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """Reads the lines logged since the test began, at level debug."""
    out = io.StringIO()
    telemetry.configure(LogSettings(level="debug", format="json"), out)
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]
