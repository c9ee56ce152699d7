"""Locks: one at a time for an object, all objects of a project at once, and nobody left behind when
someone gives up.
"""

import asyncio
import gc
import random

import pytest

from gateway.upstream.keyed_lock import KeyedLock


class Scene:
    """Changes that hold their lock until told to end, and the order in which they got it."""

    def __init__(self):
        self.locks = KeyedLock()
        self.got = []
        self.ends = {}

    def begin(self, name, thing, *, whole=False, project="p"):
        self.ends[name] = asyncio.Event()
        return asyncio.create_task(self._change(name, thing, whole, project))

    async def _change(self, name, thing, whole, project):
        async with self.locks.held(project, thing, whole_project=whole):
            self.got.append(name)
            await self.ends[name].wait()

    async def end(self, name):
        self.ends[name].set()
        await turn()


async def turn():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_object_takes_one_change_at_a_time_in_the_order_of_arrival():
    scene = Scene()
    for name, thing in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")):
        scene.begin(name, thing)
    await turn()
    assert scene.got == ["a1", "b1"]
    await scene.end("a1")
    await scene.end("a2")
    assert scene.got == ["a1", "b1", "a2", "a3"]


async def test_a_change_of_the_whole_project_excludes_all_others_there():
    scene = Scene()
    scene.begin("a", "a")
    scene.begin("none", "")
    scene.begin("whole", "", whole=True)
    scene.begin("b", "b")
    scene.begin("elsewhere", "b", project="q")
    await turn()
    assert scene.got == ["a", "none", "elsewhere"]
    await scene.end("a")
    assert "whole" not in scene.got
    await scene.end("none")
    assert scene.got[-1] == "whole"
    await scene.end("whole")
    assert scene.got[-1] == "b"


@pytest.mark.parametrize("moment", ["waiting", "admitted"])
async def test_who_gives_up_holds_nobody_up(moment):
    scene = Scene()
    scene.begin("a", "a")
    whole = scene.begin("whole", "", whole=True)
    scene.begin("b", "b")
    await turn()
    if moment == "admitted":
        scene.ends["a"].set()
        await asyncio.sleep(0)
    whole.cancel()
    await turn()
    assert scene.got == ["a", "b"]
    await scene.end("a")
    scene.begin("c", "", whole=True)
    await scene.end("b")
    assert scene.got == ["a", "b", "c"]


async def test_any_mixture_of_changes_and_cancellations_keeps_the_rule_and_leaves_nothing():
    draw, locks = random.Random(3), KeyedLock()
    inside: list[tuple[str, bool]] = []

    async def change(thing, whole):
        async with locks.held("p", thing, whole_project=whole):
            assert not any(
                other_whole or whole or (thing and other == thing) for other, other_whole in inside
            )
            inside.append((thing, whole))
            try:
                await asyncio.sleep(draw.random() * 0.002)
            finally:
                inside.remove((thing, whole))

    tasks = []
    for _ in range(600):
        whole = draw.random() < 0.1
        tasks.append(
            asyncio.create_task(change("" if whole else draw.choice(["", "a", "b", "c"]), whole))
        )
        if draw.random() < 0.3:
            draw.choice(tasks).cancel()
        if draw.random() < 0.3:
            await asyncio.sleep(0)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ended} <= {type(None), asyncio.CancelledError}
    del tasks, ended
    await turn()
    gc.collect()
    assert len(locks._locks) == 0
