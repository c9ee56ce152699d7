"""One gateway that polls fast before one emulator, as new for each test."""

from collections.abc import AsyncIterator

import pytest

from gateway.app import App
from tests.functional.calls import forget, until
from tests.harness import World, running_gateway
from tests.watch.streams import FAST, STILL


@pytest.fixture(scope="module")
async def shared_world() -> AsyncIterator[World]:
    async with running_gateway(sections={"watch": FAST}, pace=STILL) as world:
        yield world


async def forget_ends(app: App) -> None:
    """The emulated cloud's time goes back with each test, and what has ended in it."""
    app.submissions.tracker._ends.clear()
    for project in await app.store.cursors.all():
        await app.store.cursors.put(project, b"")


@pytest.fixture
async def world(shared_world: World) -> AsyncIterator[World]:
    hub, tracker = shared_world.app.hub, shared_world.app.submissions.tracker
    # A poller that is about to end would go on with what it knows of a time that is later than now.
    await until(lambda: not hub.projects and not any(each.unused for each in tracker.pollers()))
    shared_world.emulator.state.reset()
    forget(shared_world.app)
    await forget_ends(shared_world.app)
    yield shared_world
    await until(lambda: not hub.projects)
