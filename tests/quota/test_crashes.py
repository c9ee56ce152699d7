"""A gateway that is killed, at every named place and at random times, loses, doubles and lets in
nothing: what it finds again is the truth.

And its audit log holds an intent of everything that it did, and an end of every intent.

A lane is one gateway with its file and its tenant that dies at one place after the other: each life
first puts right what the life before it left.
"""

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from cbrgateway.v1 import quota_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway import failpoint
from tests.audit.scenes import assert_good, assert_recorded_before, audit_section, unended
from tests.events import test_crashes as events_crashes
from tests.functional.calls import until
from tests.harness import TENANTS
from tests.quota.oracle import agreed, created, existing, peak, sizes_of
from tests.quota.processes import Process
from tests.quota.scenes import SOAK, limit, new_vault, often, outcome

AT_ONCE = Pace(Mode.IMMEDIATE)
FAST = {"sweep_s": 0.5, "settle_s": 0.5}
LOST = {"kind": "cut", "when": "after_commit"}
REFUSED = {
    "kind": "status",
    "status": 400,
    "body": {"error_code": "BackupService.6001", "error_msg": "refused"},
}
THROTTLED = {"kind": "status", "status": 429}


@dataclass
class Lane:
    """`wanted`: requests that must have made one vault each in the end."""

    process: Process
    tenant: str
    cloud: object
    wanted: list = field(default_factory=list)
    made: int = 0

    def request(self):
        self.made += 1
        return new_vault(f"{self.tenant}-{self.made}", request_id=f"{self.tenant}-{self.made}")

    @contextlib.contextmanager
    def fault(self, operation, order):
        """Strikes once, this tenant only."""
        project, _ = TENANTS[self.tenant]
        placed = self.cloud.state.faults.add(
            {**order, "match": {"operation": operation, "project_id": project}}
        )
        yield
        self.cloud.state.faults.remove(placed.id)

    def call(self, world, name, request, within_s=10):
        return outcome(
            world, getattr(world.stub(VaultServiceStub), name), request, self.tenant, within_s
        )

    async def until_ok(self, world, request):
        async with asyncio.timeout(60):
            while (ended := await self.call(world, "CreateVault", request)).reason != "OK":  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.1)
        return ended.response.vault.id

    async def consistent(self, world):
        """Nothing leaked, nothing doubled, and everything that was asked for exists once."""
        await agreed(world, self.tenant)
        for request in self.wanted:
            await self.until_ok(world, request)
        await agreed(world, self.tenant)
        assert all(count == 1 for count in created(world, self.tenant).values()), created(
            world, self.tenant
        )
        assert {request.vault.name for request in self.wanted} <= set(created(world, self.tenant))
        self.wanted.clear()

    async def dies_at(self, place, scene, **orders):
        """One life: consistent again, then the scene, in which it dies; for some places it dies
        while it starts already.
        """
        others = "".join(f",{name}={action}" for name, action in orders.items())
        await self.process.start(CBR_GATEWAY_FAILPOINT=f"{place}=kill{others}")
        life = asyncio.create_task(self._live(scene))
        death = asyncio.create_task(self.process.ended(120))
        try:
            await asyncio.wait({life, death}, return_when=asyncio.FIRST_COMPLETED)
            if not death.done():
                await life
                await asyncio.wait({death}, timeout=60)
            assert death.done(), f"{place} was not reached"
            assert death.result() == -signal.SIGKILL
        finally:
            for task in (life, death):
                task.cancel()
            await asyncio.gather(life, death, return_exceptions=True)
            await self.process.end(signal.SIGKILL)

    async def _live(self, scene):
        async with self.process.world() as world:
            await self.consistent(world)
            await scene(self, world)


Scene = Callable[[Lane, object], Awaitable[None]]


def creates(*faults) -> Scene:
    async def scene(lane, world):
        request = lane.request()
        lane.wanted.append(request)
        with contextlib.ExitStack() as stack:
            for order in faults:
                stack.enter_context(lane.fault("CreateVault", order))
            await lane.call(world, "CreateVault", request)

    return scene


async def updates(lane, world):
    vault_id = await lane.until_ok(world, lane.request())
    with lane.fault("UpdateVault", LOST):
        await lane.call(
            world,
            "UpdateVault",
            vault_pb2.UpdateVaultRequest(vault_id=vault_id, vault={"billing": {"size_gib": 15}}),
        )


async def deletes(lane, world):
    vault_id = await lane.until_ok(world, lane.request())
    await lane.call(world, "DeleteVault", vault_pb2.DeleteVaultRequest(vault_id=vault_id))


async def sets_a_limit(_lane, world):
    wanted = quota_pb2.SetLimitRequest(
        limit={"metric": "QUOTA_METRIC_POLICIES", "level": "QUOTA_LEVEL_TENANT", "value": 100}
    )
    await outcome(world, world.stub(QuotaServiceStub).SetLimit, wanted, "admin")


async def nothing(_lane, _world):
    """It dies while it starts or recovers."""


ON_THE_WAY = {
    "after_slots": creates(),
    "after_intent": creates(),
    "audit_written": creates(),
    "before_begin": creates(),
    "after_begin": creates(),
    "reservation_left": nothing,
    "in_begin": creates(),
    "before_sent": creates(),
    "in_sent": creates(),
    "after_sent": creates(),
    "orphan_found": nothing,
    "before_probe": nothing,
    "after_probe": nothing,
    "after_settled": nothing,
    "before_first_byte": creates(),
    "after_answer": creates(),
    "before_outcome": creates(),
    "before_told": creates(),
    "in_commit": creates(),
    "before_commit": creates(),
    "after_commit": creates(),
    "after_told": creates(),
    "before_slots_free": creates(),
}
IN_TROUBLE = {
    "answer_lost": creates(LOST),
    "before_unknown": creates(LOST),
    "in_unknown": creates(LOST),
    "after_unknown": creates(LOST),
    "before_release": creates(REFUSED),
    "in_release": creates(REFUSED),
    "after_release": creates(REFUSED),
    "before_repeat": creates(THROTTLED),
    "before_read_back": updates,
    "object_gone": deletes,
    "in_adjust": deletes,
    "given_back": deletes,
    "after_fence": nothing,
    "after_listing": nothing,
    "in_recount": nothing,
    "after_recount": nothing,
    "after_sweep": nothing,
    "after_override": sets_a_limit,
}
WHILE_THE_DISK_HANGS = {"end_owed": creates(), "before_pay": creates(), "after_pay": creates()}
BRIEFLY = {
    # A reservation that was never sent.
    "after_begin",
    "reservation_left",
    # A change that CBR never saw, and one that it carried out.
    "after_sent",
    "orphan_found",
    "in_commit",
    # An outcome that is not known, a refusal, and what a delete frees.
    "after_unknown",
    "before_release",
    "given_back",
    "in_recount",
    # An end that the store could not be told at once.
    "before_pay",
}
"""What every test run tries: one place for each state that a life can leave.

A life takes seconds on a busy machine; `make soak-quota` tries all.
"""


def test_every_failpoint_is_tried():
    assert set(BRIEFLY) <= {*ON_THE_WAY, *IN_TROUBLE, *WHILE_THE_DISK_HANGS}
    tried = {*ON_THE_WAY, *IN_TROUBLE, *WHILE_THE_DISK_HANGS, *events_crashes.PLACES}
    assert tried == set(failpoint.NAMES)


@pytest.mark.timeout(1500 if SOAK else 300)
async def test_a_gateway_that_is_killed_at_any_failpoint_loses_and_doubles_nothing(tmp_path):
    async with running_emulator(pace=AT_ONCE) as cloud:
        patience = {"payments": {}, "databases": {}, "standby": {"timeout_s": 0.4}}
        lanes = {
            tenant: Lane(alone(tmp_path, cloud, tenant, **state), tenant, cloud)
            for tenant, state in patience.items()
        }

        async def through(tenant, places, **orders):
            scenes = {name: scene for name, scene in places.items() if SOAK or name in BRIEFLY}
            for _ in range(often(1, 10)):
                for name, scene in scenes.items():
                    await lanes[tenant].dies_at(name, scene, **orders)
            async with lanes[tenant].process.running() as world:
                await lanes[tenant].consistent(world)
                await until(lambda: not unended(tmp_path / tenant), 60)
            project, _ = TENANTS[tenant]
            assert assert_recorded_before(tmp_path / tenant, cloud, project)
            assert_good(tmp_path / tenant)

        async def in_trouble():
            await through("databases", IN_TROUBLE)
            await through("standby", WHILE_THE_DISK_HANGS, in_commit="sleep")

        await asyncio.gather(through("payments", ON_THE_WAY), in_trouble())


async def busy(lane, world, alive, seed):
    """Creates, and deletes what is in `alive`, until it is cancelled."""
    chance = random.Random(seed)
    while True:
        if alive and chance.random() < 0.4:
            await lane.call(
                world,
                "DeleteVault",
                vault_pb2.DeleteVaultRequest(vault_id=alive.pop(chance.randrange(len(alive)))),
            )
            continue
        request = lane.request()
        ended = await lane.call(world, "CreateVault", request)
        if ended.reason == "OK":
            alive.append(ended.response.vault.id)
        else:
            await asyncio.sleep(0.02)


@pytest.mark.timeout(1500 if SOAK else 300)
async def test_a_gateway_that_is_killed_at_any_time_lets_in_no_more_than_allowed(tmp_path):
    most, chance = 12, random.Random(3)
    async with running_emulator(pace=AT_ONCE) as cloud:
        lane = Lane(alone(tmp_path, cloud, "payments", most=most), "payments", cloud)
        for number in range(often(2, 200)):
            async with lane.process.running() as world:
                await agreed(world)
                alive = list(sizes_of(world))
                work = [
                    asyncio.create_task(busy(lane, world, alive[worker::8], 8 * number + worker))
                    for worker in range(8)
                ]
                await asyncio.sleep(chance.uniform(0, 0.8))
                await lane.process.end(signal.SIGKILL)
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        async with lane.process.running() as world:
            await agreed(world)
            assert set(created(world).values()) == {1}
            assert peak(world) <= most
            room = most - existing(world)["vaults"]
            ended = await asyncio.gather(
                *(lane.call(world, "CreateVault", lane.request()) for _ in range(most + 3))
            )
            assert Counter(each.reason for each in ended) == Counter(
                OK=room, RESOURCE_COUNT_LIMIT=most + 3 - room
            )


def alone(folder, cloud, name, *limits, most=1000, **state):
    """A gateway with a file and an audit log of its own."""
    (folder / name).mkdir()
    limits = (
        limit("vaults", "tenant", most),
        limit("capacity_gib", "tenant", 10**6),
        limit("concurrent_changes", "tenant", 100),
        *limits,
    )
    sections = {
        "quota": FAST,
        "state": {"path": str(folder / f"{name}.db"), **state},
        "audit": audit_section(folder / name),
    }
    return Process(folder, cloud, name, limits=list(limits), **sections)
