"""A fleet with faults that were put there on purpose: six projects in two regions, an emulator for
each region. What the reports must say is counted here, from the emulators' own objects.
"""

import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc

from emulator.ids import seeded
from emulator.model import Backup, BoundResource, Policy, Vault
from emulator.seed import add_resource
from emulator.server import RunningEmulator, running_emulator
from emulator.settings import ACCESS_KEY, SECRET_KEY, Account, Project
from emulator.tasks import Outcome, Task
from gateway.app import App, open_app
from tests.functional.calls import Caller
from tests.harness import REGION, STANDBY_REGION, World, config_for, tenant_entry

SERVERS = 500 if os.environ.get("PROTECTION_SOAK") else 24
DAY_S = 86_400.0
REGIONS = (REGION, STANDBY_REGION)
PATTERN = "FREQ=DAILY;INTERVAL=1;BYHOUR=3;BYMINUTE=00"
FATES = (
    "fine",
    "fine",
    "skipped",
    "no vault",
    "no policy",
    "disabled",
    "disk excluded",
    "suspended",
    "failed",
    "too old",
    "missed",
    "never",
)
"""What is wrong with a server, by its number."""
PROJECTS = {
    region: tuple(
        Project(f"0605767b578{number}d5762fc5c01180{place:02d}a564", f"{region}-{number}", region)
        for number in range(3)
    )
    for place, region in enumerate(REGIONS)
}
ALL = [project for region in REGIONS for project in PROJECTS[region]]


def account(region):
    return Account(
        domain_id="0605767a3f00d3ab0f2bc01158c7e7c0",
        domain_name="acme",
        user_id="0605767b1c80d5f91f0ec01192ad5f0a",
        user_name="acme-operator",
        password="none",
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        projects=PROJECTS[region],
    )


class LongCaller(Caller):
    """Has time for many rows."""

    async def __call__(self, rpc, fields=None, timeout_s=120):
        return await super().__call__(rpc, fields, timeout_s)


@dataclass(frozen=True, repr=False)
class Fleet:
    """`fates`: server -> what is wrong with it; `now`: when it was made."""

    app: App
    channel: grpc.aio.Channel
    emulators: dict[str, RunningEmulator]
    fates: dict[str, str]
    now: float

    def caller(self, tenant="payments"):
        return LongCaller(self.channel, World.metadata(tenant))

    def worlds(self):
        return [emulator.state.world for emulator in self.emulators.values()]

    def with_fate(self, *fates):
        return {server for server, fate in self.fates.items() if fate in fates}


@contextlib.asynccontextmanager
async def running_fleet(**sections) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        emulators = {
            region: await stack.enter_async_context(
                running_emulator(accounts=(account(region),), seed_resources=False)
            )
            for region in REGIONS
        }
        now, fates = time.time(), {}
        for region in REGIONS:
            for project in PROJECTS[region]:
                fates |= seed(emulators[region].state.world, project, now)
        tenant = tenant_entry("payments") | {
            "default_project": ALL[0].id,
            "projects": [
                {"id": project.id, "region": project.region, "credential": "main"}
                for project in ALL
            ],
            **sections.pop("tenant", {}),
        }
        regions = {
            region: {"endpoint": emulator.base_url, "iam_endpoint": emulator.base_url}
            for region, emulator in emulators.items()
        }
        credential = {
            "kind": "access_key",
            "access_key": {"env": "AK"},
            "secret_key": {"env": "SK"},
        }
        more = {
            "upstream": {"regions": regions, "credentials": {"main": credential}},
            "tenants": [tenant],
            **sections,
        }
        app = await stack.enter_async_context(open_app(config_for("", more)))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(app.address))
        yield Fleet(app, channel, emulators, fates, now)


def seed(world, project, now):
    """Servers, vaults, policies, and a week of backups; the fate of each server."""
    # CBR takes at most 256 resources into a vault.
    good = [f"good-{number}" for number in range(SERVERS // 100 + 1)]
    vaults = {
        name: _vault(world, project, name, now) for name in (*good, "unscheduled", "disabled")
    }
    for name, enabled in (("good", True), ("disabled", False)):
        policy = Policy(
            seeded(project.id, "policy", name),
            project.id,
            name,
            "backup",
            enabled,
            {"max_backups": 10},
            seeded(project.id, "trigger", name),
            {"pattern": [PATTERN], "start_time": "2020-01-01 00:00:00"},
            now - 30 * DAY_S,
        )
        world.policies[policy.id] = policy
        for vault in good if enabled else ["disabled"]:
            vaults[vault].policies[policy.id] = None
    fates = {}
    for number in range(SERVERS):
        fate = FATES[number % len(FATES)]
        tags = {"env": "prod" if number % 2 else "test"}
        server = add_resource(world, project, "server", {"name": f"s-{number:04d}", "tags": tags})
        fates[server.id] = fate
        if fate != "no vault":
            _protect(world, vaults, server, fate, now)
    for number in range(2):
        disk = add_resource(world, project, "disk", {"name": f"loose-{number}"})
        fates[disk.id] = "no vault"
    return fates


def _vault(world, project, name, now):
    vault = Vault(
        seeded(project.id, "vault", name),
        project.id,
        name,
        5000,
        "server",
        "backup",
        "crash_consistent",
        "user",
        now - 30 * DAY_S,
    )
    world.vaults[vault.id] = vault
    return vault


def _protect(world, vaults, server, fate, now):
    place = f"good-{int(server.name[2:]) // 100}"
    name = {"no policy": "unscheduled", "disabled": "disabled"}.get(fate, place)
    vault = vaults[name]
    bound = BoundResource(server.id, server.type, server.name, server.size)
    if fate == "disk excluded":
        bound.extra_info = {"exclude_volumes": [server.children[1].id]}
    bound.auto_protect = fate != "suspended"
    vault.resources[server.id] = bound
    policy = next(iter(vault.policies), None) if fate not in {"no policy", "disabled"} else None
    last = last_run(now)
    for days_ago in range(7):
        at = last - days_ago * DAY_S
        if fate == "never" or (fate == "too old" and days_ago < 4):
            continue
        if fate == "missed" and days_ago in {2, 3}:
            continue
        ended = fate if fate in {"failed", "skipped"} and days_ago == 0 else "success"
        _run(world, vault, server, at, policy, ended=ended)


def last_run(now):
    """When the policies were to run last."""
    return (now - 3 * 3600) // DAY_S * DAY_S + 3 * 3600


OUTCOMES = {
    "success": Outcome(),
    "failed": Outcome("failed", "BackupService.6125", "no"),
    "skipped": Outcome("skipped", "BackupService.7103", "no"),
}


def _run(world, vault, server, at, policy, *, ended):
    """A skipped one leaves no backup."""
    failed = ended == "failed"
    name = seeded(server.id, "backup", str(at))
    backup = Backup(
        name,
        vault.project_id,
        vault.id,
        seeded(vault.id, "checkpoint", str(at)),
        vault.product.provider_id,
        f"b-{server.name}",
        server.id,
        server.name,
        server.type,
        server.size,
        server.az,
        at,
        100,
        incremental=True,
        status="error" if failed else "available",
        policy_id=policy,
        auto_trigger=policy is not None,
        protected_at=None if failed else at + 600,
        expired_at=at + 10 * DAY_S,
    )
    if ended != "skipped":
        world.put_backup(backup)
    task = Task(
        seeded(server.id, "task", str(at)),
        "backup",
        vault.project_id,
        at,
        vault.product.provider_id,
        vault.id,
        vault.name,
        {"id": server.id, "type": server.type, "name": server.name},
        "backup",
        {"backup_id": name, "backup_name": backup.name},
        "req-1",
        seeded(server.id, "internal", str(at)),
        OUTCOMES[ended],
        "0",
        policy_id=policy,
        status=ended,
        updated_at=at + 600,
        ended_at=at + 600,
    )
    world.tasks.log[task.id] = task
