"""What fails alone is left alone, and its neighbours are not; on a stepped clock.

Each story is told for reads and for changes.
"""

import itertools
from collections import Counter

import pytest

from gateway.upstream.breaker import Level, Traffic, Verdict
from gateway.upstream.breakers import Breakers, Held
from gateway.upstream.target import Target
from tests.fakes import SteppedClock

TENANTS, PROJECTS, OBJECTS = (
    ("a", "b", "c"),
    ("1", "2"),
    tuple(f"object-{number}" for number in range(5)),
)
READS, CHANGES = (
    ("ShowVault", "ShowPolicy", "ListBackups", "ListVault"),
    ("UpdateVault", "DeleteVault", "AddVaultResource", "CreateVault"),
)
WITHOUT_OBJECT = {"ListVault", "CreateVault"}
STEP_S = 0.25

SICK = {
    "one object": lambda t: (t.tenant, t.project, t.object) == ("a", "1", "object-0"),
    "one operation": lambda t: t.operation in {"ShowVault", "UpdateVault"},
    "one operation without objects": lambda t: t.operation in WITHOUT_OBJECT,
    "one project": lambda t: (t.tenant, t.project) == ("a", "1"),
    "one tenant": lambda t: t.tenant == "a",
    "one project that tenants share": lambda t: t.project == "1",
    "two operations": lambda t: (
        t.operation in {"ShowVault", "ListBackups", "UpdateVault", "DeleteVault"}
    ),
    "one tenant's objects of one name": lambda t: t.tenant == "a" and t.object == "object-0",
}


class World:
    """Calls that end as the story says, and what became of them."""

    def __init__(self, fails=lambda _target: False, verdict=Verdict.FAILURE):
        self.clock = SteppedClock()
        self.breakers = Breakers(self.clock, lambda: 0.5)
        self.fails, self.verdict = fails, verdict
        self.held, self.ended = Counter(), Counter()

    def call(self, target):
        traffic = Traffic.READ if target.operation in READS else Traffic.WRITE
        passage = self.breakers.enter(target, traffic)
        if isinstance(passage, Held):
            self.held[target] += 1
            return passage
        failed = self.fails(target)
        passage.settle(self.verdict if failed else Verdict.SUCCESS)
        self.ended[target] += 1
        return None

    def run(self, targets, rounds):
        for _ in range(rounds):
            for target in targets:
                self.call(target)
            self.clock.advance(STEP_S)


def targets(operations, tenants=TENANTS):
    product = itertools.product(tenants, PROJECTS, operations, OBJECTS)
    return [
        Target("e", t, p, o, "" if o in WITHOUT_OBJECT else x)
        for t, p, o, x in product
        if o not in WITHOUT_OBJECT or x == OBJECTS[0]
    ]


def goodput(world, targets):
    ended = sum(world.ended[target] for target in targets)
    return ended / (ended + sum(world.held[target] for target in targets))


@pytest.mark.parametrize(
    "operations", [READS, CHANGES, READS + CHANGES], ids=["reads", "changes", "both"]
)
@pytest.mark.parametrize("story", SICK)
def test_the_goodput_of_the_others_stays(story, operations):
    world = World(SICK[story])
    everything = targets(operations)
    sick = [target for target in everything if world.fails(target)]
    # The sick are called four times as often, which alone would be more than half of all calls in
    # most stories.
    world.run(everything + 3 * sick, rounds=50)
    well = [target for target in everything if not world.fails(target)]
    assert goodput(world, well) >= 0.99
    assert goodput(world, sick) <= 0.2, "what is sick is left alone"


@pytest.mark.parametrize("operations", [READS, CHANGES], ids=["reads", "changes"])
@pytest.mark.parametrize("story", SICK)
def test_who_calls_now_and_then_is_not_held_back_either(story, operations):
    """Nothing was heard of the others for a while, so nothing speaks for them."""
    world = World(SICK[story])
    everything = targets(operations)
    sick, well = (
        [target for target in everything if world.fails(target) is bad] for bad in (True, False)
    )
    rare = well[::7]
    for target in rare:
        world.run(sick[:20], rounds=25)
        world.call(target)
    assert goodput(world, rare) >= 0.99


@pytest.mark.parametrize("operations", [READS, CHANGES], ids=["reads", "changes"])
def test_a_real_outage_opens_the_endpoint_fast(operations):
    world = World(lambda _target: True)
    everything = targets(operations)
    world.run(everything, rounds=1)
    calls = sum(world.ended.values())
    assert calls <= 60, "three times what a breaker must see"
    held = world.call(everything[0])
    assert isinstance(held, Held)
    assert held.level is Level.ENDPOINT
    assert 1 <= held.retry_after_s <= 6
    new = [
        world.call(Target("e", "a", "1", operations[0], f"new-{number}")) for number in range(20)
    ]
    assert sum(held is None for held in new) <= 1, (
        "what has not been heard of is tried, but not many in a second"
    )


def test_an_outage_after_a_time_without_one_opens_the_endpoint_too():
    world = World()
    everything = targets(READS)
    world.run(everything, rounds=40)
    world.fails = lambda _target: True
    before = sum(world.ended.values())
    world.run(everything, rounds=40)
    assert world.breakers._endpoints["e"].is_open
    # As many as ever could until half of ten seconds were bad, and a few that are tried.
    assert sum(world.ended.values()) - before <= len(everything) * 20 * 1.2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_outage_seen_by_few_tenants_is_not_hammered(count):
    """One tenant alone cannot tell the endpoint's outage from its own: then its projects' breakers
    do the work.
    """
    world = World(lambda _target: True)
    everything = targets(READS, TENANTS[:count])
    world.run(everything, rounds=100)
    assert goodput(world, everything) <= 0.05


@pytest.mark.parametrize("traffic", ["reads", "changes"])
def test_connections_that_fail_speak_against_the_host_whoever_makes_them(traffic):
    world = World(lambda _target: True, Verdict.UNREACHABLE)
    operation = "ListVault" if traffic == "reads" else "CreateVault"
    one = Target("e", "a", "1", operation)
    world.run([one] * 20, rounds=1)
    assert world.call(Target("e", "b", "2", operation)).level is Level.HOST
    assert world.call(Target("other", "b", "2", operation)) is None


def test_the_tenants_take_turns_at_an_endpoint_that_is_well_again():
    """A calls twenty times as often and still fails; B is let through all the same."""
    world = World(lambda _target: True)
    everything = targets(READS)
    world.run(everything, rounds=5)
    assert world.call(everything[0]).level is Level.ENDPOINT
    world.fails = lambda target: target.tenant == "a"
    of_a = [target for target in everything if target.tenant == "a"]
    others = [target for target in everything if target.tenant != "a"]
    world.run(of_a, rounds=24)
    world.ended.clear()
    world.held.clear()
    world.run(20 * of_a[:1] + others, rounds=40)
    assert goodput(world, others) >= 0.95


def test_an_endpoint_that_is_well_again_is_found_out_soon():
    world = World(lambda _target: True)
    everything = targets(READS + CHANGES)
    world.run(everything, rounds=20)
    world.fails = lambda _target: False
    world.run(everything, rounds=30)
    world.held.clear()
    world.run(everything, rounds=20)
    assert not world.held


@pytest.mark.parametrize(
    ("story", "target", "level"),
    [
        ("one object", Target("e", "a", "1", "ShowVault", "object-0"), Level.OBJECT),
        ("one operation", Target("e", "a", "1", "ShowVault", "object-1"), Level.OPERATION),
        ("one operation without objects", Target("e", "a", "1", "ListVault"), Level.OPERATION),
        ("one project", Target("e", "a", "1", "ShowPolicy", "object-2"), Level.PROJECT),
    ],
)
def test_what_is_held_back_is_told(story, target, level):
    world = World(SICK[story])
    world.run(10 * targets(READS), rounds=3)
    held = world.call(target)
    assert held.level is level
    assert 0 <= held.retry_after_s <= 6


def test_many_objects_take_a_bounded_memory():
    world = World(lambda target: int(target.object) % 2 == 0)
    for number in range(5000):
        world.call(Target("e", "a", "1", "ShowVault", str(number)))
    assert len(world.breakers._narrow) <= 2048
    group = world.breakers._endpoints["e"]
    assert max(len(known) for known in (group._failed_at, group._well_at, group._not_before)) <= 64
