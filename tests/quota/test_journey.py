"""The way of a change through the packages, as ARCHITECTURE.md states it."""

import asyncio
import inspect
import re
import sys
from collections import Counter
from pathlib import Path

from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.audit.scenes import audit_section
from tests.quota.scenes import gateway, limit, new_vault, outcome, rate

ROOT = Path(__file__).parents[2]
GATEWAY = f"{ROOT / 'gateway'}/"
BELOW = {"state", "metrics"}
"""Asked by several at every step, and told of every step."""
MOST_RETURNS = 4


def package(frame):
    name = frame.f_code.co_filename
    first, slash, _ = name.removeprefix(GATEWAY).partition("/")
    return first if slash and name.startswith(GATEWAY) and first not in BELOW else None


def packages(frame):
    found = set()
    while frame is not None:
        found.add(package(frame))
        frame = frame.f_back
    return found


class Journey:
    """Which packages were entered: a coroutine of it begins while none of them is on the way to it,
    neither on the stack nor above the task that it runs in.
    """

    def __init__(self):
        self.entered = []
        self._above = {}
        self._begun = []

    def make_task(self, loop, coro, **more):
        task = asyncio.Task(coro, loop=loop, **more)
        self._above[task] = packages(sys._getframe(1)) | self._above_now()
        return task

    def _above_now(self):
        try:
            return self._above.get(asyncio.current_task(), set())
        except RuntimeError:
            return set()

    def see(self, frame, event, _arg):
        waits = frame.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
        here = package(frame) if event == "call" and waits else None
        if here is None or frame in self._begun:
            return
        self._begun.append(frame)
        if here not in packages(frame.f_back) | self._above_now():
            self.entered.append(here)


async def test_a_change_goes_through_the_packages_as_the_page_says(tmp_path):
    journey = Journey()
    limits = (
        limit("vaults", "tenant", 100),
        limit("concurrent_changes", "tenant", 10),
        rate(1000, 1000),
    )
    sections = {"audit": audit_section(tmp_path), "quota": {"sweep_s": 3600}}
    async with gateway(*limits, sections=sections) as world:
        create = world.stub(VaultServiceStub).CreateVault
        assert (await outcome(world, create, new_vault(1))).reason == "OK"
        asyncio.get_running_loop().set_task_factory(journey.make_task)
        sys.setprofile(journey.see)
        try:
            ended = await outcome(world, create, new_vault(2, request_id="r-2"))
        finally:
            sys.setprofile(None)
    assert ended.reason == "OK"
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"^A change enters (.*): \w+ returns\.$", page, re.MULTILINE)
    assert journey.entered == re.findall(r"`(\w+)`", stated)
    assert sum(count - 1 for count in Counter(journey.entered).values()) <= MOST_RETURNS
