"""What cannot be counted reaches only whom it concerns; late lists and a lost store let nothing in
that is above a limit.
"""

import asyncio
import contextlib
import signal
from collections import Counter

import grpc
import pytest
from cbrgateway.v1 import errors_pb2, quota_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.paging import Paging
from emulator.server import running_emulator
from gateway.app import open_app
from tests.functional.calls import until
from tests.harness import TENANTS, World, config_for, tenant_entry
from tests.quota.fleet import create, delete, running_fleet
from tests.quota.scenes import gateway, limit, outcome, posts
from tests.quota.test_tenant_limits import Site, changed

PAYMENTS, DATABASES = TENANTS["payments"][0], TENANTS["databases"][0]
WORDS = {
    "status": {"kind": "status", "status": 403},
    "nowhere": {"kind": "status", "status": 404},
    "secret": {"kind": "status", "status": 401},
    "slow": {"kind": "delay", "seconds": 4},
}
CAUSES = {
    "status": "UPSTREAM_PERMISSION",
    "nowhere": "NOT_FOUND",
    "secret": "UPSTREAM_CREDENTIALS",
    "slow": "UPSTREAM_UNAVAILABLE",
}
LATE = {"kind": "list_lag", "seconds": 4, "match": {"operation": "ListVault"}, "times": None}
SETTLE = {"quota": {"settle_s": 120}}


def hide(world, project, fault=WORDS["status"], operation="ListVault"):
    world.emulator.state.faults.add(
        {**fault, "match": {"operation": operation, "project_id": project}, "times": None}
    )


async def usages(world, tenant="admin"):
    listed = await outcome(
        world, world.stub(QuotaServiceStub).ListUsages, quota_pb2.ListUsagesRequest(), tenant
    )
    return {usage.name: usage for usage in listed.response.usages}


@contextlib.asynccontextmanager
async def again(cloud, folder, *limits, **sections):
    """A gateway with a file that an earlier one may have left."""
    kept = {
        "limits": list(limits),
        "quota": {"sweep_s": 1, "settle_s": 1},
        "state": {"path": str(folder / "state.db")},
        **sections,
    }
    async with (
        open_app(config_for(cloud.base_url, kept)) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield World(app, cloud, channel)


@pytest.mark.parametrize("fault", WORDS)
async def test_a_project_that_cannot_be_counted_stops_its_own_growth_only(fault, monkeypatch):
    monkeypatch.setattr("gateway.upstream.reads.READ_CAP_S", 1.0)
    async with gateway(
        limit("vaults", "global", 3), limit("capacity_gib", "account", 1000)
    ) as world:
        hide(world, DATABASES, WORDS[fault])
        assert [(await create(world, n)).reason for n in range(2)] == ["OK", "OK"]
        refused = await create(world, 3, "databases")
        assert (refused.reason, refused.code) == ("QUOTA_STORE_DOWN", grpc.StatusCode.UNAVAILABLE)
        known = refused.details["ErrorInfo"].metadata
        assert (known["cause"], known["project"]) == (CAUSES[fault], DATABASES)
        assert known["since"]
        assert (await create(world, 4)).reason == "OK"
        over = await create(world, 5)
        assert over.reason == "RESOURCE_COUNT_LIMIT"
        assert DATABASES not in str(over.details)
        world.emulator.state.faults.remove()
        assert (await create(world, 6, "databases")).reason == "RESOURCE_COUNT_LIMIT"


async def test_projects_that_cbr_does_not_answer_for_delay_no_other_ones_first_count(monkeypatch):
    """More than are listed at once. Each has a limit of its own."""
    monkeypatch.setattr("gateway.upstream.reads.READ_CAP_S", 600.0)
    monkeypatch.setattr("gateway.upstream.retry.MAX_ATTEMPT_S", 600.0)
    entry = tenant_entry("databases")
    silent = [
        {
            **entry,
            "id": f"silent-{number}",
            "default_project": f"{number:032x}",
            "projects": [entry["projects"][0] | {"id": f"{number:032x}"}],
            "api_keys": [{"id": "key", "sha256": f"{number:064x}"}],
        }
        for number in range(20)
    ]
    sections = {"tenants": [*silent, tenant_entry("payments")]}
    async with gateway(limit("vaults", "project", 3), sections=sections) as world:
        for each in silent:
            hide(world, each["default_project"], {"kind": "delay", "seconds": 600})
        assert (await create(world, 1)).reason == "OK"


async def test_pages_that_are_cut_and_count_their_own_rows_hide_no_vault_from_a_limit(tmp_path):
    async with running_emulator() as cloud:
        async with again(cloud, tmp_path) as world:
            assert {(await create(world, n)).reason for n in range(12)} == {"OK"}
        cloud.state.world.paging = Paging(cap=10, count="page")
        (tmp_path / "state.db").unlink()
        async with again(cloud, tmp_path, limit("vaults", "tenant", 12)) as world:
            assert (await create(world, 12)).reason == "RESOURCE_COUNT_LIMIT"


@pytest.mark.parametrize(
    "billing",
    [{"billing": {"size": "many"}}, {"billing": {"size": None}}, {"billing": "x"}, {}],
    ids=repr,
)
async def test_a_vault_without_a_size_that_can_be_read_stops_the_growth_of_capacity_only(billing):
    async with gateway(
        limit("capacity_gib", "tenant", 100), limit("vaults", "tenant", 100)
    ) as world:
        listed = {
            "vaults": [
                {"id": f"v{n}", "name": "n", **(billing if n else {"billing": {"size": 10}})}
                for n in range(3)
            ],
            "count": 3,
        }
        hide(world, PAYMENTS, {"kind": "status", "status": 200, "body": listed})
        refused = await create(world, 1)
        assert refused.reason == "QUOTA_STORE_DOWN"
        known = refused.details["ErrorInfo"]
        assert (known.metadata["cause"], known.metadata["project"]) == (
            "UPSTREAM_PROTOCOL",
            PAYMENTS,
        )
        shown = await usages(world, "payments")
        (problem,) = shown["capacity_gib:tenant:payments"].count_problems
        assert "lists the vault v1 and 1 more without a size" in problem.message
        counted = shown["vaults:tenant:payments"]
        assert (counted.count_state, counted.used) == (quota_pb2.COUNT_STATE_COUNTED, 3)
        assert not posts(world)
        world.emulator.state.faults.remove()
        assert (await create(world, 2)).reason == "OK"


async def test_usages_tell_which_project_cannot_be_counted_to_whom_it_concerns():
    async with gateway(
        limit("vaults", "global", 9), limit("vaults", "tenant", 5), limit("policies", "tenant", 5)
    ) as world:
        hide(world, DATABASES)
        await create(world, 1)
        for tenant, name in (("admin", "vaults:global"), ("databases", "vaults:tenant:databases")):
            shown = (await usages(world, tenant))[name]
            assert shown.count_state == quota_pb2.COUNT_STATE_PARTIAL
            (problem,) = shown.count_problems
            assert (problem.project, problem.reason, problem.counted_before) == (
                DATABASES,
                errors_pb2.ERROR_REASON_UPSTREAM_PERMISSION,
                False,
            )
            assert problem.HasField("start_time")
            assert "granted" in problem.message
        # Its policies can be listed, and others hear nothing of it.
        assert (await usages(world, "databases"))[
            "policies:tenant:databases"
        ].count_state == quota_pb2.COUNT_STATE_COUNTED
        assert DATABASES not in str(await usages(world, "payments"))
        check = quota_pb2.CheckQuotaRequest(
            create_vault=vault_pb2.CreateVaultRequest(
                vault={"name": "v", "billing": {"size_gib": 1}}
            )
        )
        assert DATABASES not in str(
            (await outcome(world, world.stub(QuotaServiceStub).CheckQuota, check)).response
        )


async def test_a_count_outlives_the_process_and_stands_in_where_a_later_one_fails(tmp_path):
    async with running_emulator() as cloud:
        async with again(cloud, tmp_path, limit("vaults", "global", 4)) as world:
            assert [(await create(world, n, "databases")).reason for n in range(2)] == ["OK", "OK"]
        async with again(cloud, tmp_path, limit("vaults", "global", 4)) as world:
            hide(world, DATABASES)
            assert (await create(world, 3)).reason == "OK"
            await until(lambda: world.app.recovery.recounter.lists.problems)
            (problem,) = (await usages(world))["vaults:global"].count_problems
            assert problem.counted_before
            # What it was allowed before is allowed still, as nothing of it is unknown.
            assert [
                (await create(world, n, tenant)).reason
                for n, tenant in ((4, "databases"), (5, "payments"))
            ] == ["OK", "RESOURCE_COUNT_LIMIT"]


@pytest.mark.parametrize("fault", ["status", "nowhere"])
async def test_a_list_that_fails_later_leaves_the_last_count(fault):
    async with gateway(limit("vaults", "tenant", 2)) as world:
        assert (await create(world, 1)).reason == "OK"
        # Long enough ago that only a list shows it.
        await asyncio.sleep(1.1)
        hide(world, PAYMENTS, WORDS[fault])
        await world.app.recovery.recounter.run()
        assert [(await create(world, n)).reason for n in (2, 3)] == ["OK", "RESOURCE_COUNT_LIMIT"]


async def test_a_project_that_comes_by_a_reload_and_cannot_be_counted_stops_nobody_else(tmp_path):
    async with running_emulator() as cloud:
        site = Site(tmp_path, cloud.base_url, limit("vaults", "global", 2))
        site.write("payments")
        async with site.running(cloud) as world:
            assert (await create(world, 1)).reason == "OK"
            hide(world, DATABASES)
            await changed(world, lambda: site.write("databases"))
            assert (await create(world, 2, "databases")).reason == "QUOTA_STORE_DOWN"
            assert [(await create(world, n)).reason for n in (2, 3)] == [
                "OK",
                "RESOURCE_COUNT_LIMIT",
            ]
            await changed(world, (tmp_path / "tenants" / "databases.yaml").unlink)
            assert not world.app.recovery.recounter.lists.problems


async def test_what_was_never_counted_counts_as_the_configuration_assumes():
    quota = {"quota": {"sweep_s": 1, "settle_s": 1, "assumed_vaults": 3}}
    async with gateway(limit("vaults", "global", 4), sections=quota) as world:
        hide(world, DATABASES)
        assert [(await create(world, n)).reason for n in range(2)] == ["OK", "RESOURCE_COUNT_LIMIT"]


async def test_a_list_that_is_late_lets_in_no_more_than_allowed():
    async with gateway(limit("vaults", "tenant", 6), sections=SETTLE) as world:
        world.emulator.state.faults.add(LATE)
        made = await create(world, 0)
        assert [(await create(world, n)).reason for n in range(1, 4)] == ["OK"] * 3
        renamed = vault_pb2.UpdateVaultRequest(
            vault_id=made.response.vault.id, vault={"name": "another"}
        )
        assert (
            await outcome(world, world.stub(VaultServiceStub).UpdateVault, renamed)
        ).reason == "OK"
        await world.app.recovery.recounter.run()
        ended = await asyncio.gather(*(create(world, n) for n in range(10, 20)))
        assert Counter(each.reason for each in ended) == {"OK": 2, "RESOURCE_COUNT_LIMIT": 8}
        # What was deleted is not counted because it is young.
        assert (await delete(world, made.response.vault.id)).reason == "OK"
        await until(lambda: not any(name.startswith("gone-") for name in world.app.recovery.tasks))
        await world.app.recovery.recounter.run()
        assert [(await create(world, n)).reason for n in (30, 31)] == ["OK", "RESOURCE_COUNT_LIMIT"]


async def test_a_limit_that_is_newer_than_a_create_counts_what_late_lists_do_not_show():
    async with gateway(sections=SETTLE) as world:
        world.emulator.state.faults.add(LATE)
        assert (await create(world, 1)).reason == "OK"
        limited = quota_pb2.SetLimitRequest(
            limit={"metric": "QUOTA_METRIC_VAULTS", "level": "QUOTA_LEVEL_TENANT", "value": 1}
        )
        assert (
            await outcome(world, world.stub(QuotaServiceStub).SetLimit, limited, tenant="admin")
        ).reason == "OK"
        assert (await create(world, 2)).reason == "RESOURCE_COUNT_LIMIT"


async def test_a_store_that_is_emptied_while_a_gateway_is_killed_lets_in_no_more_than_allowed(
    tmp_path, valkey
):
    most = 20
    quota = {"settle_s": 4}
    async with running_fleet(
        tmp_path, valkey, 1, limit("vaults", "tenant", most), quota=quota, new=True
    ) as fleet:
        world = fleet.worlds[0]
        refused = await create(world, 0)
        assert (refused.reason, refused.details["ErrorInfo"].metadata["cause"]) == (
            "QUOTA_STORE_DOWN",
            "DATA_LOST",
        )
        assert 0 < refused.details["RetryInfo"].retry_delay.seconds <= 4
        waiting = (await usages(world, "payments"))["vaults:tenant:payments"]
        assert (waiting.count_state, waiting.HasField("growth_time")) == (
            quota_pb2.COUNT_STATE_WAITING,
            True,
        )
        await until_grows(world, 0)
        for fault in (
            {**LATE, "seconds": 2},
            {"kind": "delay", "seconds": 1, "match": {"operation": "CreateVault"}, "times": None},
        ):
            world.emulator.state.faults.add(fault)
        sent = [asyncio.create_task(create(world, n)) for n in range(1, 13)]
        await until(lambda: len(posts(world)) == 13)
        await fleet.processes[0].end(signal.SIGKILL)
        assert valkey.command("FLUSHALL").startswith(b"+OK")
        await asyncio.gather(*sent)
        await fleet.processes[0].start(**fleet.environ)
        await until_grows(world, 100)
        await asyncio.gather(*(create(world, n) for n in range(101, 120)))
        assert len(posts(world, committed=True)) == most


async def until_grows(world, number):
    async with asyncio.timeout(60):
        while (ended := await create(world, number)).reason != "OK":
            assert ended.reason in {"QUOTA_STORE_DOWN", "UNAVAILABLE"}
            await asyncio.sleep(0.2)
