"""What really happened, told by the emulator's truth log alone, and whether the gateway's books
agree with it.
"""

import asyncio
import json
import time
from collections import Counter

from cbrgateway.v1 import quota_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub

from tests.harness import TENANTS
from tests.quota.scenes import outcome

AGREE_S = 90
"""How long the books may take to agree with the truth after trouble, on a busy machine."""

PASSING = {
    quota_pb2.QUOTA_METRIC_REQUESTS,
    quota_pb2.QUOTA_METRIC_CONCURRENT_CHANGES,
    quota_pb2.QUOTA_METRIC_CONCURRENT_RESTORES,
    quota_pb2.QUOTA_METRIC_OPEN_STREAMS,
}


def _changes(world, tenant):
    """What CBR carried out in the tenant's project, in its order: of two requests the first to
    arrive may be the later one to be carried out.
    """
    project, _ = TENANTS[tenant]
    done = [
        entry
        for entry in world.emulator.state.truth.entries()
        if entry.committed and entry.project_id == project
    ]
    return sorted(done, key=lambda entry: entry.replied_at or time.time())


def created(world, tenant="payments"):
    """How often each vault was made, by its name."""
    return Counter(
        json.loads(entry.body)["vault"]["name"]
        for entry in _changes(world, tenant)
        if entry.operation == "CreateVault"
    )


def sizes_of(world, tenant="payments"):
    """The vaults that exist, by id, with their GiB."""
    sizes = {}
    for entry in _changes(world, tenant):
        match entry.operation:
            case "CreateVault" | "UpdateVault":
                sizes[entry.reply["vault"]["id"]] = entry.reply["vault"]["billing"]["size"]
            case "DeleteVault":
                sizes.pop(entry.target.rpartition("/")[2], None)
    return sizes


def existing(world, tenant="payments"):
    """How many vaults and GiB exist."""
    sizes = sizes_of(world, tenant)
    return {"vaults": len(sizes), "capacity_gib": sum(sizes.values())}


def peak(world, tenant="payments"):
    """The most vaults that existed at one time."""
    most = now = 0
    for entry in _changes(world, tenant):
        now += (entry.operation == "CreateVault") - (entry.operation == "DeleteVault")
        most = max(most, now)
    return most


async def books(world, tenant="payments"):
    """What the gateway counts, by metric: what is used (None: not counted yet) and reserved.

    And what is open. None, and why, while it cannot say.
    """
    quota = world.stub(QuotaServiceStub)
    usages = await outcome(world, quota.ListUsages, quota_pb2.ListUsagesRequest(), tenant)
    open_ones = await outcome(
        world, quota.ListReservations, quota_pb2.ListReservationsRequest(), tenant
    )
    if not usages.response or not open_ones.response:
        return None, usages.reason
    counts = {
        each.name.partition(":")[0]: (
            each.used if each.HasField("count_time") else None,
            each.reserved,
        )
        for each in usages.response.usages
        # What runs now and how fast is not kept.
        if each.limit.metric not in PASSING
    }
    return counts, list(open_ones.response.reservations)


async def nothing_open(world, tenant, within_s=AGREE_S):
    """For a tenant without limits, which has no counters to compare."""
    give_up = time.monotonic() + within_s
    while open_ones := (await books(world, tenant))[1]:
        assert time.monotonic() < give_up, f"still open: {open_ones}"
        await asyncio.sleep(0.1)


async def agreed(world, tenant="payments", within_s=AGREE_S):
    """Waits until nothing is open and the counters are the truth: no leak, no orphan."""
    give_up = time.monotonic() + within_s
    while True:
        counts, open_ones = await books(world, tenant)
        wanted = {
            name: (amount, 0)
            for name, amount in existing(world, tenant).items()
            if name in (counts or ())
        }
        if wanted and not open_ones and wanted.items() <= counts.items():
            return
        assert time.monotonic() < give_up, (
            f"the books show {counts} and {open_ones}, and the truth is {wanted}"
        )
        await asyncio.sleep(0.1)
