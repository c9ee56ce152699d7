"""Times of CBR that are missing, nobody's, or told by clocks that contradict each other prove
nothing: nothing is made twice, and what others made is nobody's own.
"""

import itertools
import time
from email.utils import formatdate

import httpx
import pytest
from cbrgateway.v1 import vault_pb2

from emulator.routes import policies, tasks, vaults
from gateway.clock import SystemClock
from tests.quota.scenes import outcome, posts
from tests.quota.test_clocks import (
    AFTER,
    BEFORE,
    UNMARKED,
    checkpoint,
    console,
    create,
    gateway,
    lose,
    restore,
    ten_tags,
    until_ended,
)
from tests.tasks.test_settling import PRE_PAID
from tests.tasks.works import BILLING, Scene

LISTS = {"policy": "ListPolicies", "ten tags": "ListVault"}


def dated(world, *ahead_s):
    """Answers are dated by that many clocks in turn; None: by none."""
    clock, turns = world.emulator.state.clock, itertools.cycle(ahead_s)

    def http_date():
        ahead = next(turns)
        return b"" if ahead is None else formatdate(clock.front() + ahead, usegmt=True).encode()

    clock.http_date = http_date


async def made_once(world, method, request, operation):
    """Its answer was lost; a repeat is told so, or that nobody knows."""
    before = len(posts(world, operation, committed=True))
    lose(world, operation, AFTER)
    assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
    again = await until_ended(world, method, request)
    assert (again.reason, again.trailers.get("replayed")) in [
        ("OK", "true"),
        ("OUTCOME_UNDECIDED", None),
    ]
    assert len(posts(world, operation, committed=True)) == before + 1


@pytest.mark.parametrize(
    "ahead_s", [(0, 1), (1.3, 0), (4, 0), (0, 4), (4, 4, 0), (0, -60), (0, 60), (None,)]
)
@pytest.mark.parametrize("kind", [*UNMARKED, checkpoint, restore])
async def test_servers_whose_clocks_contradict_each_other(kind, ahead_s):
    async with gateway(0, markers=False) as world:
        change = create(world, kind) if kind in UNMARKED else await kind(Scene(world))
        dated(world, *ahead_s)
        await outcome(world, Scene(world).vaults.ListVaults, vault_pb2.ListVaultsRequest())
        await made_once(world, *change)


NO_DATES = {"none": {}, "null": {"date": None}, "no date": {"date": "yesterday"}}


def without_date(shown, key, date):
    """Has CBR show something without a moment, or with another one."""

    def spoilt(*args, **more):
        view = dict(shown(*args, **more))
        holder = view
        if "trigger" in view:
            properties = dict(view["trigger"]["properties"])
            holder = properties
            view["trigger"] = view["trigger"] | {"properties": properties}
        holder.pop(key)
        holder.update({key: date["date"]} if date else {})
        return view

    return spoilt


@pytest.mark.parametrize("date", NO_DATES)
@pytest.mark.parametrize("kind", [*UNMARKED, checkpoint, restore])
async def test_what_is_shown_without_a_date(kind, date, monkeypatch):
    async with gateway(0, markers=False) as world:
        change = create(world, kind) if kind in UNMARKED else await kind(Scene(world))
        for module, name, key in (
            (policies, "policy_view", "start_time"),
            (vaults, "vault_view", "created_at"),
            (tasks, "task_view", "created_at"),
        ):
            shown = without_date(getattr(module, name), key, NO_DATES[date])
            monkeypatch.setattr(module, name, shown)
        await made_once(world, *change)


@pytest.mark.parametrize("kind", UNMARKED)
async def test_where_nothing_is_dated_what_was_renamed_is_not_taken_for_ones_own(kind):
    """Somebody has the same under another name; after ours was lost they rename it."""
    async with gateway(0) as world, console(world.emulator) as other:
        dated(world, None)
        method, request, operation = create(world, kind)
        theirs, wanted, _ = create(other.world, kind)
        member = "policy" if kind == "policy" else "vault"
        getattr(wanted, member).name = "other"
        made = getattr(await other.call(theirs, wanted), member)
        # A list that is not paged is asked for twice, the first time.
        nth = 3 if kind == "policy" else 2
        late = world.emulator.state.faults.add(
            {"kind": "status", "match": {"operation": LISTS[kind]}, "nth": nth, "times": None}
        )
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        cloud = world.emulator.state.world
        objects = cloud.policies if kind == "policy" else cloud.vaults
        objects[made.id].name = getattr(request, member).name
        world.emulator.state.faults.remove(late.id)
        again = await until_ended(world, method, request)
        assert again.trailers.get("replayed") is None
        assert again.reason == ("OK" if kind == "policy" else "OUTCOME_UNDECIDED")


async def test_what_was_ordered_long_ago_and_is_paid_now_is_not_taken_for_ones_own(monkeypatch):
    async with gateway(0) as world:
        calls = Scene(world).vaults
        spec = {"name": "vault-1", "tags": ten_tags(), "billing": {**BILLING, **PRE_PAID}}
        spec["billing"]["is_auto_pay"] = False
        ordering = vault_pb2.OrderVaultRequest(vault=spec)
        with monkeypatch.context() as ten_hours_ago:
            ten_hours_ago.setattr(SystemClock, "time", staticmethod(lambda: time.time() - 36000))
            order = (await outcome(world, calls.OrderVault, ordering)).response.orders[0]
        bare = {key: spec[key] for key in ("name", "tags")} | {"billing": BILLING}
        creating = vault_pb2.CreateVaultRequest(vault=bare, request_id="r")
        unlisted = world.emulator.state.faults.add(
            {"kind": "status", "match": {"operation": "ListVault"}, "nth": 2, "times": None}
        )
        lose(world, "CreateVault", BEFORE)
        assert (await outcome(world, calls.CreateVault, creating)).reason == "OUTCOME_UNKNOWN"
        async with httpx.AsyncClient(base_url=world.emulator.base_url) as control:
            (await control.post(f"/_emulator/orders/{order.order_id}/pay")).raise_for_status()
        world.emulator.state.faults.remove(unlisted.id)
        again = await until_ended(world, calls.CreateVault, creating)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", None)
