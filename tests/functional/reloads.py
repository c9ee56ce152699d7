"""A configuration that is changed again and again under calls. Each answer is of one whole
configuration, no connection goes back to an older one, and nothing of a refused one is ever seen.

A configuration has a number. It shows in two limits, and in an API key that only it knows.
"""

import asyncio
import contextlib
import hashlib
import os
import signal

import yaml
from cbrgateway.v1.quota_pb2 import QUOTA_METRIC_VAULTS, ListLimitsRequest
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub

from tests.quota.scenes import limit, outcome

SOAK = "RELOAD_SOAK" in os.environ
RELOADS = 1000 if SOAK else 10
"""Of ten, three are refused; never one after the other, so that each is told."""
LEAST = 100
SPOILED = (
    lambda config: yaml.safe_dump(config | {"no_such_key": 1}),
    lambda config: yaml.safe_dump(config | {"tenants": config["tenants"] * 2}),
    lambda config: yaml.safe_dump(config) + "\naudit: [",
)
"""Each has one mistake, and beside it limits and a key that would be taken over."""


async def reloaded(gateway, worlds):
    """The version that all have at the end, when the last reload was refused."""
    file = gateway.folder / "gateway.yaml"
    good, seen = yaml.safe_load(file.read_text()), set()
    async with contextlib.AsyncExitStack() as stack:
        for number in range(RELOADS):
            refused = number % 10 in {3, 6, 9}
            spoil = SPOILED[number % len(SPOILED)] if refused else yaml.safe_dump
            file.write_text(spoil(numbered(good, number)))
            gateway.send(signal.SIGHUP)
            found = await settled(gateway, seen, refused=refused)
            in_force = number - refused
            assert await found_by_all(worlds, in_force) == [in_force] * len(worlds)
            if refused:
                assert await found_by_all(worlds, number) == ["CREDENTIALS_INVALID"] * len(worlds)
            if number == 0:
                await stack.enter_async_context(watched(worlds))
            seen |= found
    assert len(seen) == RELOADS - RELOADS * 3 // 10
    return found.pop()


def numbered(config, number):
    tenants = [dict(each) for each in config["tenants"]]
    (payments,) = [each for each in tenants if each["id"] == "payments"]
    sha256 = hashlib.sha256(f"key-of-payments-{number}".encode()).hexdigest()
    payments["api_keys"] = [*payments["api_keys"], {"id": "numbered", "sha256": sha256}]
    limits = [limit("vaults", level, LEAST + number) for level in ("tenant", "project")]
    return config | {"tenants": tenants, "limits": limits}


async def settled(gateway, seen, *, refused):
    """The configuration that all have, once what became of the last reload is told."""
    async with asyncio.timeout(60):
        while True:
            told = set((await gateway.metric("cbr_config_last_reload_successful")).values())
            found = await versions(gateway)
            whole = len(found) == 1 and told == {float(not refused)}
            if whole and (refused or found.isdisjoint(seen)):
                return found
            await asyncio.sleep(0.05)


async def versions(gateway):
    """Of the configurations that are in use."""
    return {name.split('"')[1] for name in await gateway.metric("cbr_config_info")}


async def found_by_all(worlds, number):
    """By callers who show the key of that configuration: the number of the one that they find."""
    key = f"payments-{number}"
    return await asyncio.gather(*(found_by(world, key) for world in worlds))


async def found_by(world, key="payments"):
    limits = world.stub(QuotaServiceStub).ListLimits
    ended = await outcome(world, limits, ListLimitsRequest(), tenant=key)
    if ended.reason != "OK":
        return ended.reason
    of_vaults = [each for each in ended.response.limits if each.metric == QUOTA_METRIC_VAULTS]
    one, other = (each.value for each in of_vaults)
    assert one == other, "two configurations in one answer"
    return one - LEAST


@contextlib.asynccontextmanager
async def watched(worlds):
    """Callers look all the while."""
    over = asyncio.Event()

    async def look(world):
        last = looks = 0
        while not over.is_set():
            found = await found_by(world)
            assert found >= last, "an older configuration after a newer one"
            assert found % 10 not in {3, 6, 9}, "a configuration that was refused"
            last, looks = found, looks + 1
            await asyncio.sleep(0.02)
        return looks

    looking = [asyncio.create_task(look(world)) for world in worlds]
    try:
        yield
    finally:
        over.set()
        assert all(await asyncio.gather(*looking))
