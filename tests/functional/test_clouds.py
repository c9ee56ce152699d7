"""A gateway before two clouds of the family at once: what one of them does not have ends before
anything is sent, and GetCloudFeatures tells it.
"""

import contextlib
import hashlib
import json

import grpc
import pytest
from cbrgateway.v1 import errors_pb2, feature_pb2, types_pb2

from emulator.server import running_emulator
from gateway.app import open_app
from gateway.reasons import reason_name
from gateway.upstream.flavors import FLAVORS
from tests.functional.calls import BINDINGS, REQUESTS, Caller, arrived
from tests.harness import REGION, World, config_for, tenant_entry

FEATURES = "FeatureService/GetCloudFeatures"
ABSENT = [
    rpc
    for rpc, binding in BINDINGS.items()
    if binding.operation and binding.operation not in FLAVORS["otc"].published
]
VAULT = {
    "vault": {
        "name": "first",
        "billing": {"size_gib": 20, "object_type": 2, "protect_type": 2, "consistent_level": 2},
    }
}


@contextlib.asynccontextmanager
async def two_clouds(**more):
    """`payments` is in Huawei Cloud; `databases`, with a caller who may only read, and `admin` are
    in a region of Open Telekom Cloud.
    """
    viewer = {
        "id": "reader",
        "role": "viewer",
        "api_key": hashlib.sha256(b"key-of-reader").hexdigest(),
    }
    async with running_emulator() as cloud:
        access = {
            name: {"kind": "access_key", "access_key": {"env": ak}, "secret_key": {"env": sk}}
            for name, ak, sk in KEYS
        }
        regions = {
            REGION: {"endpoint": cloud.base_url},
            "eu-de": {"flavor": "otc", "endpoint": cloud.base_url},
        }
        tenants = [tenant_entry("payments"), tenant_entry("databases"), tenant_entry("admin")]
        for tenant in tenants[1:]:
            tenant["projects"][0]["region"] = "eu-de"
        tenants[1]["principals"] = [viewer]
        sections = {"upstream": {"regions": regions, "credentials": access}, "tenants": tenants}
        sections |= more
        async with (
            open_app(config_for(cloud.base_url, sections)) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            yield World(app, cloud, channel)


@pytest.fixture
async def world():
    async with two_clouds() as both:
        yield both


KEYS = (("main", "AK", "SK"), ("second", "AK2", "SK2"))


def caller(world, tenant):
    return Caller(world.channel, world.metadata(tenant))


async def test_what_the_cloud_does_not_have_is_refused_and_nothing_is_sent(world):
    admin = caller(world, "admin")
    for rpc in ABSENT:
        failed = await admin.fails(rpc, REQUESTS[rpc])
        operation = BINDINGS[rpc].operation
        assert (failed.code, failed.reason) == ("UNIMPLEMENTED", "CLOUD_UNSUPPORTED"), rpc
        assert "Open Telekom Cloud" in failed.message
        assert operation in failed.message
        assert failed.facts.items() >= {"flavor": "otc", "operation": operation}.items()
        assert "attempts" not in failed.facts
    failed = await admin.fails(
        "QuotaService/CheckQuota", {"order_vault": REQUESTS["VaultService/OrderVault"]}
    )
    assert failed.reason == "CLOUD_UNSUPPORTED"
    assert world.emulator.state.truth.entries() == []


async def test_it_is_refused_before_the_request_is_read_and_leaves_nothing_behind(world):
    failed = await caller(world, "databases").fails("VaultService/OrderVault", {})
    assert failed.reason == "CLOUD_UNSUPPORTED"
    assert (await caller(world, "admin").ok("QuotaService/ListReservations", {})).reservations == []


async def test_what_it_has_works_with_keys_that_are_derived_for_it(world):
    otc = caller(world, "databases")
    made = await otc.ok("VaultService/CreateVault", VAULT)
    assert made.vault.id in {
        vault.id for vault in (await otc.ok("VaultService/ListVaults", {})).vaults
    }
    assert (await caller(world, "payments").ok("FeatureService/ListFeatures", {})).features


@pytest.mark.parametrize(
    ("tenant", "tags", "marked"),
    [
        ("payments", 9, True),
        ("payments", 10, False),
        ("databases", 10, True),
        ("databases", 19, True),
        ("databases", 20, False),
    ],
)
async def test_a_new_vault_has_the_gateways_tag_where_its_cloud_leaves_room(tenant, tags, marked):
    wanted = [{"key": f"key-{number}", "value": "v"} for number in range(tags)]
    async with two_clouds(quota={"markers": True, "recovery": False}) as world:
        # The emulator is one of Huawei Cloud: it takes no more than ten.
        await caller(world, tenant)(
            "VaultService/CreateVault", {"vault": VAULT["vault"] | {"tags": wanted}}
        )
        (sent,) = arrived(world, "VaultService/CreateVault")
        keys = [tag["key"] for tag in json.loads(sent.body)["vault"]["tags"]]
        assert keys == [tag["key"] for tag in wanted] + ["gw-op"] * marked


async def test_features_say_what_works_and_each_call_agrees(world):
    told = await caller(world, "databases").ok(FEATURES, {})
    assert (told.flavor, told.cloud_name, told.region) == ("otc", "Open Telekom Cloud", "eu-de")
    assert {row.rpc for row in told.rpcs} >= BINDINGS.keys()
    reasons = {row.rpc: row.reason for row in told.rpcs if not row.available}
    assert {
        rpc
        for rpc, reason in reasons.items()
        if reason == errors_pb2.ERROR_REASON_CLOUD_UNSUPPORTED
    } <= set(ABSENT)
    for rpc, reason in reasons.items():
        failed = await caller(world, "databases").fails(rpc, {})
        assert failed.reason == reason_name(reason), rpc
        assert failed.message == next(row.message for row in told.rpcs if row.rpc == rpc)
    assert list(told.charging_modes) == [types_pb2.CHARGING_MODE_POST_PAID]
    assert told.limits == feature_pb2.CloudLimits(
        max_vault_tags=20, min_vault_size_gib=10, max_vault_size_gib=10485760
    )
    assert told.vault_tags_on_create
    assert not told.creates_marked  # config_for turns markers off


async def test_features_are_those_of_the_caller(world):
    everything = await caller(world, "admin").ok(FEATURES, {})
    assert {row.rpc for row in everything.rpcs if not row.available} == set(ABSENT)
    reads = await Caller(world.channel, (("authorization", "Bearer key-of-reader"),)).ok(
        FEATURES, {}
    )
    assert {row.rpc: row.reason for row in reads.rpcs}[
        "VaultService/CreateVault"
    ] == errors_pb2.ERROR_REASON_PERMISSION_MISSING
    here = await caller(world, "payments").ok(FEATURES, {})
    assert here.flavor == "huawei"
    assert {row.reason for row in here.rpcs if not row.available} == {
        errors_pb2.ERROR_REASON_ADMINISTRATOR_ONLY
    }
    assert world.emulator.state.truth.entries() == []
