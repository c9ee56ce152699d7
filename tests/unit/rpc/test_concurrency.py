"""Calls that are carried out at once, and those that wait: by counts, on a stepped clock."""

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest

from gateway.errors import GatewayError
from gateway.reasons import reason_name
from gateway.rpc.adaptive_limit import LATE_S, LOOK_S, AdaptiveLimit, LoopShare
from gateway.rpc.concurrency import BURST_S, Concurrency
from gateway.rpc.fair_queue import TURN_UNITS
from gateway.rpc.settings import OverloadSettings
from tests.fakes import SteppedClock

LONGEST_S = 2.0
STEP_S = 1 / 16


class Room:
    """A Concurrency, and what becomes of the calls that come to it."""

    def __init__(self, calls, most=None, waiting=100):
        self.clock = SteppedClock()
        settings = OverloadSettings(
            min_calls=calls, max_calls=most or calls, max_waiting=waiting, max_wait_s=LONGEST_S
        )
        self.busy = 0.0
        self.concurrency = Concurrency(settings, self.clock, lambda: self.busy)
        self.begun, self.refused, self.errors = [], [], []

    def call(self, tenant, name="", time_left_s=None, weight=1):
        """One that comes now; it leaves when it is told to."""
        principal = SimpleNamespace(tenant=SimpleNamespace(id=tenant, weight=weight))
        call = SimpleNamespace(principal=principal, time_left_s=time_left_s, place="", name=name)
        call.task = asyncio.create_task(self._run(call))
        return call

    def calls(self, tenant, count):
        return [self.call(tenant, f"{tenant}{number}") for number in range(count)]

    async def _run(self, call):
        try:
            if not self.concurrency.take(call):
                await self.concurrency.wait(call, 1)
            self.begun.append(call)
        except GatewayError as error:
            self.refused.append(call)
            self.errors.append(error)
        finally:
            if not call.place:
                self.concurrency.leave(call)

    async def settle(self):
        for _ in range(8):
            await asyncio.sleep(0)

    async def step(self, seconds):
        """The time goes on, in steps."""
        await self.settle()
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            await self.settle()

    async def leave(self, *calls):
        for call in calls:
            self.concurrency.leave(call)
        await self.settle()


def of(calls):
    return Counter(call.principal.tenant.id for call in calls)


async def test_nothing_waits_while_there_is_room():
    room = Room(8)
    calls = room.calls("one", 8)
    await room.settle()
    assert room.begun == calls
    assert (room.concurrency.waited, room.concurrency.running) == (0, 8)
    assert room.concurrency._looking is None, "nothing is watched, so nothing is woken for it"
    await room.leave(*calls)
    assert (room.concurrency.running, room.concurrency._held) == (0, {})


async def test_a_noisy_tenant_leaves_the_others_their_turn():
    room = Room(4)
    room.calls("noisy", 60)
    await room.settle()
    room.calls("quiet", 3)
    await room.settle()
    assert of(room.begun) == {"noisy": 4, "quiet": 2}, "its part of the room is always there"
    assert room.concurrency.waiting == 57
    for _ in range(2 + TURN_UNITS + 1):
        await room.leave(next(call for call in room.begun if call.place == "noisy"))
    assert of(room.begun)["quiet"] == 3, "and it waits for one turn of the other"
    assert of(room.begun)["noisy"] == 4 + TURN_UNITS + 1


async def test_of_two_that_want_more_than_there_is_each_is_served_as_often():
    room = Room(2)
    room.calls("many", 90)
    room.calls("some", 90)
    await room.settle()
    while len(room.begun) < 80:
        await room.leave(*[call for call in room.begun if call.place][:1])
    found = of([call for call in room.begun if not call.place])
    assert abs(found["many"] - found["some"]) <= 12


async def test_calls_that_hang_hold_places_of_their_own_tenant_only():
    room = Room(10)
    room.calls("hung", 100)
    await room.settle()
    assert of(room.begun) == {"hung": 10}
    for number in range(50):
        call = room.call("fine", f"fine{number}")
        await room.settle()
        assert call in room.begun
        await room.leave(call)
    assert of(room.begun)["hung"] == 10
    assert not room.refused


async def test_who_waits_too_long_is_refused_with_a_reason_and_a_delay():
    room = Room(1)
    (first,) = room.calls("one", 1)
    await room.settle()
    waiting = room.calls("one", 3)
    await room.step(LONGEST_S - STEP_S)
    assert not room.refused
    await room.step(STEP_S)
    assert room.refused == waiting
    assert room.concurrency.refused == {"one": 3}
    assert {reason_name(error.reason) for error in room.errors} == {"OVERLOADED"}
    assert all(0.5 <= error.retry_after_s <= 1.5 for error in room.errors)
    assert (room.concurrency.waiting, room.concurrency.running) == (0, 1)
    await room.leave(first)
    assert room.concurrency.running == 0


async def test_who_gives_little_time_waits_for_a_part_of_it_and_longer_in_a_burst():
    room = Room(1)
    room.calls("one", 2)
    await room.settle()
    early = room.call("one", "early", time_left_s=1.25)
    await room.step(0.75 - STEP_S)
    assert not room.refused
    await room.step(STEP_S)
    assert room.refused == [early]
    await room.step(BURST_S)
    late = room.call("one", "late", time_left_s=1.25)
    await room.step(0.25 - STEP_S)
    assert late not in room.refused
    await room.step(STEP_S)
    assert room.refused[-1] is late


async def test_nobody_waits_past_what_its_deadline_allows():
    room = Room(1)
    room.calls("one", 1)
    await room.settle()
    short = room.call("one", "short", time_left_s=0.5)
    hopeless = room.call("one", "hopeless", time_left_s=0.3)
    patient = room.call("one", "patient", time_left_s=30)
    await room.step(STEP_S)
    assert room.refused == [hopeless]
    await room.step(STEP_S)
    assert room.refused == [hopeless, short]
    assert patient not in room.refused


async def test_where_too_many_wait_the_one_with_most_gives_way():
    room = Room(1, waiting=10)
    room.calls("busy", 1)
    await room.settle()
    noisy = room.calls("noisy", 9)
    await room.settle()
    quiet = room.calls("quiet", 2)
    await room.settle()
    # The first of each finds its part of the room.
    assert of(room.begun) == {"busy": 1, "noisy": 1, "quiet": 1}
    room.calls("quiet", 1)
    room.calls("noisy", 3)
    await room.settle()
    assert room.refused == noisy[1:4]
    assert quiet[1] not in room.refused


async def test_a_caller_that_leaves_while_it_waits_takes_nothing_along():
    room = Room(1)
    (first,) = room.calls("one", 1)
    await room.settle()
    gone, stays = room.calls("one", 2)
    await room.settle()
    gone.task.cancel()
    await room.settle()
    assert room.concurrency.waiting == 1
    await room.leave(first)
    assert room.begun == [first, stays]


async def test_a_caller_that_leaves_in_the_very_moment_of_its_turn_gives_its_place_back():
    room = Room(1)
    (first,) = room.calls("one", 1)
    await room.settle()
    gone, stays = room.calls("one", 2)
    await room.settle()
    room.concurrency.leave(first)
    gone.task.cancel()
    await room.settle()
    assert gone.place == "one"
    await room.leave(gone)
    assert room.begun == [first, stays]
    assert room.concurrency.running == 1


async def test_a_caller_that_has_left_and_does_not_know_yet_is_passed_over():
    room = Room(1)
    (first,) = room.calls("one", 1)
    await room.settle()
    gone, stays = room.calls("one", 2)
    await room.settle()
    gone.task.cancel()
    room.concurrency.leave(first)
    await room.settle()
    assert room.begun == [first, stays]
    assert (room.concurrency.running, room.concurrency.waiting) == (1, 0)


async def test_where_too_many_wait_a_caller_that_has_left_gives_way_first():
    room = Room(1, waiting=2)
    room.calls("one", 1)
    await room.settle()
    gone, _ = room.calls("one", 2)
    await room.settle()
    gone.task.cancel()
    room.calls("one", 1)
    await room.settle()
    assert not room.refused
    assert room.concurrency.waiting == 2


@pytest.mark.parametrize(("late_s", "busy"), [(2 * LATE_S, 0), (1.0, 0), (0, 1.0)])
async def test_a_loop_without_time_lowers_the_limit_to_its_floor_and_no_further(late_s, busy):
    room = Room(4, most=100)
    calls = room.calls("one", 60)
    await room.settle()
    room.busy = busy
    for _ in range(100):
        room.clock.advance(LOOK_S + late_s)
        await room.settle()
    assert room.concurrency.limit == 4
    room.busy = 0
    await room.leave(*calls)
    for _ in range(60):
        room.clock.advance(LOOK_S)
        await room.settle()
    assert room.concurrency.limit == 100, "and back, once the loop has time"
    assert room.concurrency._looking is None


def test_one_pause_of_the_loop_is_no_overload():
    limit = AdaptiveLimit(8, 512)
    limit.look(0.05, 1.0, 400)
    assert limit.value == 512
    for _ in range(12):
        limit.look(0.05, 1.0, 400)
    assert limit.value < 200


def test_slow_answers_of_others_lower_nothing():
    limit = AdaptiveLimit(8, 512)
    for _ in range(100):
        limit.look(0.001, 0.4, 400)
    assert limit.value == 512


def test_the_limit_settles_where_the_loop_has_some_time_left():
    """A loop that is busy for a fiftieth of its time with each call that is carried out."""
    limit, found = AdaptiveLimit(4, 1000), []
    for _ in range(400):
        limit.look(0, min(1.0, limit.value / 50), limit.value)
        found.append(limit.value)
    assert 20 < min(found[200:]) <= max(found[200:]) < 70


def test_the_share_of_the_loop_is_that_of_its_thread():
    share = LoopShare()
    sum(range(1_000_000))
    assert 0 < share() <= 1
