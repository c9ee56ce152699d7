"""What administrators see of all tenants: limits, use of every kind, changes; each look is on
record.
"""

import asyncio
import contextlib

import grpc
from cbrgateway.v1 import quota_pb2, task_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.audit.scenes import audit_section, records
from tests.functional.calls import until
from tests.harness import TENANTS
from tests.quota.scenes import gateway, limit, new_vault, outcome, rate

LIMITS = (
    limit("vaults", "tenant", 5),
    limit("vaults", "project", 4),
    limit("concurrent_changes", "tenant", 3),
    limit("checkpoints_per_day", "principal", 9),
    limit("capacity_gib", "account", 500, subject="main"),
    rate(0.001, 100),
    rate(0.001, 90, level="principal", method_class="change"),
)


async def usages(world, asked="", tenant="admin"):
    quota = world.stub(QuotaServiceStub)
    request = quota_pb2.ListUsagesRequest(tenant=asked, page_size=200)
    return {
        usage.name: usage
        for usage in (await outcome(world, quota.ListUsages, request, tenant)).response.usages
    }


@contextlib.asynccontextmanager
async def watching(world, tenant):
    """A stream that is open."""
    call = world.stub(TaskServiceStub).WatchTasks(
        task_pb2.WatchTasksRequest(), metadata=world.metadata(tenant)
    )
    assert await call.read()
    yield
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call.code()


async def test_the_use_of_all_tenants_is_shown_with_rates_and_open_streams():
    async with gateway(*LIMITS) as world:
        vaults = world.stub(VaultServiceStub)
        for tenant, count in (("payments", 2), ("databases", 1)):
            for number in range(count):
                made = await outcome(world, vaults.CreateVault, new_vault(number), tenant)
                assert made.reason == "OK"
        async with watching(world, "payments"), watching(world, "payments"):
            found = await usages(world, "-")
        for tenant, count in (("payments", 2), ("databases", 1), ("standby", 0)):
            assert found[f"vaults:tenant:{tenant}"].used == count
            assert found[f"vaults:project:{TENANTS[tenant][0]}"].used == count
            assert found[f"concurrent_changes:tenant:{tenant}"].used == 0
            assert found[f"open_streams:tenant:{tenant}"].used == (2 if tenant == "payments" else 0)
        assert found["requests:principal:payments/test:change"].used == 10
        assert found["requests:principal:databases/test:change"].used == 5
        # Changes, and two streams at the cost of a read each.
        assert found["requests:tenant:payments"].used == 12
        assert found["requests:tenant:payments"].limit.burst == 100
        assert found["capacity_gib:account:main"].used == 30
        again = await usages(world, "-")
        assert again["requests:tenant:payments"].used == 12, "a look takes nothing"


async def test_one_tenant_can_be_named_and_callers_see_their_own_tenant_only():
    async with gateway(*LIMITS) as world:
        one = await usages(world, "databases")
        assert {name.split(":")[2] for name in one if ":tenant:" in name} == {"databases"}
        own = await usages(world, "payments", tenant="payments")
        assert not any("account" in name or "databases" in name for name in own)
        assert "requests:tenant:payments" in own
        quota = world.stub(QuotaServiceStub)
        for request in (
            quota_pb2.ListUsagesRequest,
            quota_pb2.ListLimitsRequest,
            quota_pb2.ListReservationsRequest,
        ):
            method = getattr(quota, request.__name__.removesuffix("Request"))
            for asked in ("databases", "-", "nobody"):
                denied = await outcome(world, method, request(tenant=asked))
                assert denied.reason == "ADMINISTRATOR_ONLY"
                assert denied.code == grpc.StatusCode.PERMISSION_DENIED
            wrong = await outcome(world, method, request(tenant="databasses"), "admin")
            assert wrong.reason == "FIELD_INVALID"


async def test_limits_of_one_tenant_are_those_that_count_for_it():
    limits = (*LIMITS, limit("vaults", "tenant", 9, subject="databases"))
    async with gateway(*limits) as world:
        quota = world.stub(QuotaServiceStub)

        async def named(asked):
            request = quota_pb2.ListLimitsRequest(tenant=asked)
            listed = (await outcome(world, quota.ListLimits, request, "admin")).response.limits
            return {each.name for each in listed}

        everything = await named("-")
        assert everything == await named("")
        assert await named("databases") == everything
        assert await named("payments") == everything - {"vaults:tenant:databases"}
        assert "capacity_gib:account:main" not in await named("admin")


async def test_changes_of_all_tenants_can_be_listed_by_tenant_and_state():
    async with gateway(*LIMITS, sections={"quota": {"settle_s": 60}}) as world:
        world.emulator.state.faults.add(
            {"kind": "cut", "match": {"operation": "CreateVault"}, "times": None}
        )
        quota, vaults = world.stub(QuotaServiceStub), world.stub(VaultServiceStub)
        for tenant in ("payments", "databases"):
            ended = await outcome(world, vaults.CreateVault, new_vault(1, request_id="r"), tenant)
            assert ended.reason == "OUTCOME_UNKNOWN"

        async def whose(**asked):
            request = quota_pb2.ListReservationsRequest(**asked)
            listed = await outcome(world, quota.ListReservations, request, "admin")
            return sorted(each.tenant for each in listed.response.reservations)

        unknown, sent = quota_pb2.RESERVATION_STATE_UNKNOWN, quota_pb2.RESERVATION_STATE_SENT
        assert await whose(tenant="-", states=[unknown]) == ["databases", "payments"]
        assert await whose(tenant="databases") == ["databases"]
        assert await whose(tenant="-", states=[sent]) == []


async def test_each_look_at_others_is_on_record_whatever_the_rules_say(tmp_path):
    silent = {"policy": [{"rpc": "QuotaService/*", "level": "none"}]}
    audit = audit_section(tmp_path, **silent)
    async with gateway(*LIMITS, sections={"audit": audit}) as world:
        for asked in ("-", "databases", "admin"):
            await usages(world, asked)
        await usages(world, "payments", tenant="payments")
        await world.stub(VaultServiceStub).ListVaults(
            vault_pb2.ListVaultsRequest(), metadata=world.metadata()
        )
        await until(lambda: records(tmp_path, operation="ListVaults"))
        looks = records(tmp_path, operation="ListUsages")
        assert [row["api"]["request"]["data"]["tenant"] for row in looks] == ["-", "databases"]
        assert {row["actor"]["user"]["name"] for row in looks} == {"test"}
