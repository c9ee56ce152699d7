"""AccessService: who calls by the gateway's eyes, and what it may do; each verdict is what the call
itself would have ended with.
"""

import contextlib
import hashlib

import grpc
import pytest
from cbrgateway.v1 import access_pb2, errors_pb2

from emulator import settings as emulated
from gateway.reasons import reason_name
from tests.functional.calls import BINDINGS, CATALOG, REQUESTS, Caller, caller
from tests.harness import REGION, STANDBY_REGION, TENANTS, running_gateway, tenant_entry

GET, TEST = "AccessService/GetCaller", "AccessService/TestPermissions"
DENIED = {"ADMINISTRATOR_ONLY", "PERMISSION_MISSING", "CLOUD_UNSUPPORTED", "PROJECT_SHARED"}


def key(of):
    return hashlib.sha256(f"key-of-{of}".encode()).hexdigest()


PAYMENTS = tenant_entry("payments") | {
    "projects": [
        *tenant_entry("payments")["projects"],
        {"id": emulated.STANDBY_PROJECT_ID, "region": STANDBY_REGION, "credential": "main"},
    ],
    "principals": [
        {"id": "reader", "role": "viewer", "api_key": key("reader")},
        {
            "id": "job",
            "permissions": ["cbr:vaults:list", "cbr:tasks:*"],
            "api_key": key("job"),
        },
        {
            "id": "reports",
            "permissions": [
                *("cbrgateway:protection:*", "cbrgateway:clouds:get"),
                *("cbr:vaults:list", "cbr:backups:list"),
            ],
            "api_key": key("reports"),
        },
    ],
}


@contextlib.asynccontextmanager
async def running(**sections):
    tenants = [PAYMENTS, tenant_entry("databases"), tenant_entry("admin")]
    async with running_gateway(sections={"tenants": tenants, **sections}) as world:
        yield world


async def test_each_caller_is_told_who_it_is_whatever_it_may_do():
    async with running() as world:
        told = {
            name: await caller(world, name).ok(GET)
            for name in ("payments", "reader", "job", "admin")
        }
        assert {name: (found.tenant, found.principal) for name, found in told.items()} == {
            "payments": ("payments", "test"),
            "reader": ("payments", "reader"),
            "job": ("payments", "job"),
            "admin": ("admin", "test"),
        }
        assert [access_pb2.CallerRole.Name(found.role)[12:] for found in told.values()] == [
            "OPERATOR",
            "VIEWER",
            "UNSPECIFIED",
            "ADMINISTRATOR",
        ]
        assert list(told["job"].permissions) == ["cbr:tasks:*", "cbr:vaults:list"]
        assert told["job"].credential_kind == access_pb2.CREDENTIAL_KIND_API_KEY
        assert not told["job"].HasField("credential_expire_time")
        assert [(p.project, p.region, p.is_default, p.selected) for p in told["job"].projects] == [
            (TENANTS["payments"][0], REGION, True, True),
            (emulated.STANDBY_PROJECT_ID, STANDBY_REGION, False, False),
        ]
        other = ("x-cbr-project-id", emulated.STANDBY_PROJECT_ID)
        there = await caller(world, "job", other).ok(GET)
        assert [project.selected for project in there.projects] == [False, True]
        assert world.emulator.state.truth.entries() == []


async def test_limits_are_told_with_their_use_as_list_usages_tells_them():
    limits = [
        {"metric": "vaults", "level": "tenant", "value": 5},
        {"metric": "vaults", "level": "global", "value": 50},
    ]
    async with running(limits=limits) as world:
        for name in ("payments", "admin"):
            told = (await caller(world, name).ok(GET)).usages
            listed = (await caller(world, name).ok("QuotaService/ListUsages")).usages
            assert [(u.name, u.limit, u.used) for u in told] == [
                (u.name, u.limit, u.used) for u in listed
            ]
            assert {u.limit.name for u in told} >= {"vaults:tenant"}
            assert ("vaults:global" in {u.limit.name for u in told}) == (name == "admin")


@pytest.mark.parametrize("name", ["payments", "reader", "job", "admin"])
async def test_a_verdict_is_what_the_call_itself_ends_with(name):
    async with running() as world:
        who = caller(world, name)
        verdicts = {each.rpc: each for each in (await who.ok(TEST)).verdicts}
        assert list(verdicts) == list(CATALOG.bindings)
        for rpc in BINDINGS:
            answer = await who(rpc, REQUESTS[rpc])
            reason = getattr(answer, "reason", "")
            verdict = verdicts[rpc]
            assert verdict.allowed == (reason not in DENIED), (rpc, answer)
            assert verdict.permission == CATALOG[rpc].permission
            if not verdict.allowed:
                assert (reason_name(verdict.reason), verdict.message) == (reason, answer.message)


async def test_a_report_needs_the_permissions_of_what_it_reads_and_its_verdict_says_so():
    reports = [rpc for rpc in CATALOG.bindings if rpc.startswith("ProtectionService/")]
    async with running() as world:
        who = caller(world, "reports")
        verdicts = (await who.ok(TEST, {"rpcs": reports})).verdicts
        features = (await who.ok("FeatureService/GetCloudFeatures")).rpcs
        available = {each.rpc: each.available for each in features}
        for verdict in verdicts:
            code, message = await ended(who, verdict.rpc)
            assert verdict.allowed == available[verdict.rpc] == (code == "OK"), verdict.rpc
            assert verdict.message == message
            assert verdict.allowed == (verdict.rpc == "ProtectionService/ListExpiringBackups")
            if not verdict.allowed:
                assert "cbr:policies:list" in verdict.missing
                assert all(each in message for each in verdict.missing)
        assert world.emulator.state.truth.entries()


async def ended(who, rpc):
    """The code and the message with which a call without any field ends."""
    if not CATALOG[rpc].descriptor.server_streaming:
        answer = await who(rpc, {})
        return getattr(answer, "code", "OK"), getattr(answer, "message", "")
    method = who.channel.unary_stream(
        f"/cbrgateway.v1.{rpc}",
        request_serializer=lambda message: message.SerializeToString(),
    )
    try:
        _ = [each async for each in method(CATALOG[rpc].request_type(), metadata=who.metadata)]
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details()
    return "OK", ""


async def test_rpcs_and_a_project_can_be_named():
    async with running() as world:
        who = caller(world, "reader")
        asked = ["VaultService/DeleteVault", "VaultService/GetVault"]
        found = await who.ok(TEST, {"rpcs": asked, "project": emulated.STANDBY_PROJECT_ID})
        assert [(v.rpc, v.allowed) for v in found.verdicts] == [(asked[0], False), (asked[1], True)]
        assert found.verdicts[0].reason == errors_pb2.ERROR_REASON_PERMISSION_MISSING
        wrong = await who.fails(TEST, {"rpcs": [*asked, "VaultService/DeletVault"]})
        assert (wrong.reason, wrong.fields) == ("FIELD_INVALID", ["rpcs[2]"])
        assert "VaultService/DeleteVault" in wrong.message
        foreign = await who.fails(TEST, {"project": TENANTS["databases"][0]})
        nothing = await who.fails(TEST, {"project": "0" * 32})
        assert (foreign.reason, foreign.message) == ("PROJECT_DENIED", nothing.message)
        nobody = await Caller(world.channel, ()).fails(TEST)
        assert nobody.reason == "CREDENTIALS_INVALID"
