"""QuotaService over gRPC: what callers see, and what administrators may do."""

import grpc
import pytest
from cbrgateway.v1 import backup_share_pb2, order_pb2, quota_pb2, vault_pb2
from cbrgateway.v1.backup_share_pb2_grpc import BackupShareServiceStub
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.settings import DATABASES_PROJECT_ID
from emulator.transitions import Mode, Pace
from gateway.limits import deltas
from gateway.operations import load_catalog
from tests.functional import stage
from tests.functional.calls import caller
from tests.harness import TENANTS
from tests.quota.scenes import gateway, limit, new_vault, outcome, posts, rate

VAULTS, TENANT = quota_pb2.QUOTA_METRIC_VAULTS, quota_pb2.QUOTA_LEVEL_TENANT


async def test_callers_see_their_own_limits_and_administrators_all():
    limits = (
        limit("vaults", "tenant", 5),
        limit("vaults", "tenant", 9, subject="databases"),
        limit("capacity_gib", "account", 50, subject="main"),
        rate(5, 10, method_class="read"),
    )
    async with gateway(*limits) as world:
        quota = world.stub(QuotaServiceStub)
        own = await outcome(world, quota.ListLimits, quota_pb2.ListLimitsRequest())
        assert [shown.name for shown in own.response.limits] == [
            "open_streams:tenant",
            "requests:tenant::read",
            "vaults:tenant",
        ]
        everything = await outcome(
            world, quota.ListLimits, quota_pb2.ListLimitsRequest(page_size=3), tenant="admin"
        )
        assert (len(everything.response.limits), everything.response.total_size) == (3, 5)
        rest = quota_pb2.ListLimitsRequest(
            page_size=3, page_token=everything.response.next_page_token
        )
        assert (
            len((await outcome(world, quota.ListLimits, rest, tenant="admin")).response.limits) == 2
        )


async def test_usages_show_what_is_used():
    async with gateway(limit("vaults", "tenant", 5), limit("capacity_gib", "account", 50)) as world:
        await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(1))
        listed = await outcome(
            world, world.stub(QuotaServiceStub).ListUsages, quota_pb2.ListUsagesRequest()
        )
        (usage,) = (u for u in listed.response.usages if u.limit.metric == VAULTS)
        assert (usage.name, usage.limit.value, usage.used, usage.reserved) == (
            "vaults:tenant:payments",
            5,
            1,
            0,
        )
        assert usage.HasField("count_time")


async def test_a_check_reserves_and_sends_nothing():
    async with gateway(limit("vaults", "tenant", 1), limit("capacity_gib", "account", 50)) as world:
        quota, vaults = world.stub(QuotaServiceStub), world.stub(VaultServiceStub)

        async def check(**change):
            return (
                await outcome(world, quota.CheckQuota, quota_pb2.CheckQuotaRequest(**change))
            ).response

        assert (await check(create_vault=new_vault(1))).allowed
        large = await check(create_vault=new_vault(1, 51))
        assert not large.allowed
        assert {v.usage.name: v.allowed for v in large.verdicts} == {
            "vaults:tenant:payments": True,
            "capacity_gib:account": False,
        }
        assert not (await check(create_vault=new_vault(1, auto_expand=True))).allowed
        assert posts(world) == []
        made = await outcome(world, vaults.CreateVault, new_vault(1, 30))
        grown = vault_pb2.UpdateVaultRequest(
            vault_id=made.response.vault.id, vault={"billing": {"size_gib": 50}}
        )
        assert [verdict.asked for verdict in (await check(update_vault=grown)).verdicts] == [20]
        ordered = order_pb2.ChangeOrderRequest(
            resource_id=made.response.vault.id,
            product_info={
                "product_id": "p",
                "resource_size_gib": 60,
                "resource_spec_code": "vault.backup.server.normal",
            },
        )
        assert {verdict.asked for verdict in (await check(change_order=ordered)).verdicts} == {30}
        empty = await outcome(world, quota.CheckQuota, quota_pb2.CheckQuotaRequest())
        assert empty.reason == "FIELD_INVALID"


def test_every_change_that_a_limit_could_refuse_can_be_checked():
    checked = {field.message_type for field in quota_pb2.CheckQuotaRequest.DESCRIPTOR.fields}
    growing = {
        binding.descriptor.input_type
        for binding in load_catalog()
        if binding.traits.deltas and not deltas.gives_back(binding)
    }
    assert checked == growing


async def test_a_check_counts_first_what_the_change_would_have_counted():
    async with gateway(
        limit("vaults", "tenant", 3),
        limit("members_per_backup", "tenant", 1),
        pace=Pace(Mode.IMMEDIATE),
    ) as world:
        quota, shares = world.stub(QuotaServiceStub), world.stub(BackupShareServiceStub)
        backup = await stage.backup(caller(world))
        add = backup_share_pb2.AddBackupMembersRequest(
            backup_id=backup.id, project_ids=[DATABASES_PROJECT_ID]
        )
        assert (await outcome(world, shares.AddBackupMembers, add)).reason == "OK"
        gone = backup_share_pb2.DeleteBackupMemberRequest(
            backup_id=backup.id, member_id=DATABASES_PROJECT_ID
        )
        assert (await outcome(world, shares.DeleteBackupMember, gone)).reason == "OK"
        assert (
            await outcome(
                world, quota.CheckQuota, quota_pb2.CheckQuotaRequest(add_backup_members=add)
            )
        ).response.allowed


async def test_a_check_allows_nothing_that_cannot_be_counted():
    async with gateway(
        limit("vaults", "tenant", 3), sections={"quota": {"recovery": False}}
    ) as world:
        world.emulator.state.faults.add(
            {"kind": "status", "status": 403, "match": {"operation": "ListVault"}, "times": None}
        )
        check = quota_pb2.CheckQuotaRequest(create_vault=new_vault(1))
        assert (
            await outcome(world, world.stub(QuotaServiceStub).CheckQuota, check)
        ).reason == "QUOTA_STORE_DOWN"


async def test_administrators_change_limits_while_running():
    async with gateway(limit("vaults", "tenant", 1)) as world:
        quota, vaults = world.stub(QuotaServiceStub), world.stub(VaultServiceStub)
        wanted = quota_pb2.SetLimitRequest(
            limit={"metric": VAULTS, "level": TENANT, "subject": "payments", "value": 2}
        )
        denied = await outcome(world, quota.SetLimit, wanted)
        assert (denied.reason, denied.code) == (
            "ADMINISTRATOR_ONLY",
            grpc.StatusCode.PERMISSION_DENIED,
        )
        done = await outcome(world, quota.SetLimit, wanted, tenant="admin")
        assert (done.response.limit.name, done.response.limit.set_while_running) == (
            "vaults:tenant:payments",
            True,
        )
        ended = [await outcome(world, vaults.CreateVault, new_vault(n)) for n in range(3)]
        assert [e.reason for e in ended] == ["OK", "OK", "RESOURCE_COUNT_LIMIT"]
        gone = quota_pb2.DeleteLimitRequest(name="vaults:tenant:payments")
        assert (await outcome(world, quota.DeleteLimit, gone, tenant="admin")).reason == "OK"
        assert (
            await outcome(world, quota.DeleteLimit, gone, tenant="admin")
        ).reason == "QUOTA_NOT_FOUND"
        refused = await outcome(world, vaults.CreateVault, new_vault(9))
        assert refused.violations[0].quota_value == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": VAULTS, "level": TENANT},
        {"metric": VAULTS, "level": quota_pb2.QUOTA_LEVEL_PRINCIPAL, "value": 1},
        {"metric": quota_pb2.QUOTA_METRIC_REQUESTS, "level": TENANT, "per_second": 1, "burst": 2},
        {
            "metric": quota_pb2.QUOTA_METRIC_REQUESTS,
            "level": TENANT,
            "per_second": float("nan"),
            "burst": 20,
        },
        {"level": TENANT, "value": 1},
    ],
)
async def test_limits_that_make_no_sense_are_refused(wrong):
    async with gateway() as world:
        ended = await outcome(
            world,
            world.stub(QuotaServiceStub).SetLimit,
            quota_pb2.SetLimitRequest(limit=wrong),
            tenant="admin",
        )
        assert ended.reason == "FIELD_INVALID"


async def test_an_operator_settles_what_nobody_knows():
    # Long enough that recovery does not settle it first; without markers and with two vaults of one
    # name it never would.
    async with gateway(limit("vaults", "tenant", 3), sections={"quota": {"settle_s": 60}}) as world:
        world.emulator.state.faults.add({"kind": "cut", "match": {"operation": "CreateVault"}})
        quota, vaults = world.stub(QuotaServiceStub), world.stub(VaultServiceStub)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OUTCOME_UNKNOWN"
        listed = await outcome(world, quota.ListReservations, quota_pb2.ListReservationsRequest())
        (reservation,) = listed.response.reservations
        assert (reservation.rpc, reservation.request_id) == ("VaultService/CreateVault", "r-1")
        assert reservation.state == quota_pb2.RESERVATION_STATE_UNKNOWN
        project, _ = TENANTS["payments"]
        wanted = {
            "vaults:tenant:payments": 1,
            f"vaults:project:{project}": 1,
            f"capacity_gib:project:{project}": 10,
        }
        assert {amount.name: amount.amount for amount in reservation.amounts} == wanted
        foreign = await outcome(
            world, quota.ListReservations, quota_pb2.ListReservationsRequest(), tenant="databases"
        )
        assert not foreign.response.reservations
        release = quota_pb2.ReleaseReservationRequest(reservation_id=reservation.id)
        assert (
            await outcome(world, quota.ReleaseReservation, release)
        ).reason == "ADMINISTRATOR_ONLY"
        assert (
            await outcome(world, quota.ReleaseReservation, release, tenant="admin")
        ).reason == "OK"
        assert (
            await outcome(world, quota.ReleaseReservation, release, tenant="admin")
        ).reason == "QUOTA_NOT_FOUND"
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "OK"
