"""What is told beside ends of tasks: refused and doubtful changes, and limits that are reached."""

import json

import grpc
import pytest
from cbrgateway.v1 import quota_pb2, vault_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub

from emulator.server import running_emulator
from gateway.events import limits
from tests.events.receiver import receiving
from tests.events.scenes import assert_valid, settings, telling
from tests.functional.calls import failure_of, order, until
from tests.metrics.scrape import scrape
from tests.metrics.until import until_true
from tests.tasks.works import BILLING, Scene

NONE = [{"metric": "vaults", "value": 0}]
LIMITS = {
    "limits": [{"metric": "vaults", "value": 5}],
    "quota": {"markers": False, "recovery": False},
}


@pytest.fixture
async def receiver(tmp_path):
    async with receiving(tmp_path) as receiver:
        yield receiver


def of_type(receiver, word):
    return [event for event in receiver.got if event["type"] == f"com.cbrgateway.{word}.v1"]


def reasons(receiver):
    return [event["data"]["reason"] for event in of_type(receiver, "change.refused")]


async def test_a_change_that_is_refused_is_told(receiver):
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver), limits=NONE) as world,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await Scene(world).vault(0, name="canary-name")
        await until(lambda: of_type(receiver, "change.refused"))
    (event,) = of_type(receiver, "change.refused")
    call = dict(refused.value.trailing_metadata())["x-request-id"]
    assert event["data"] | {"project": ""} == {
        "outcome": "refused",
        "call": call,
        "operation": "VaultService/CreateVault",
        "status": "RESOURCE_EXHAUSTED",
        "reason": "RESOURCE_COUNT_LIMIT",
        "tenant": "payments",
        "principal": "test",
        "project": "",
    }
    assert_valid(receiver.got)
    assert "canary-name" not in json.dumps(receiver.got)


async def test_who_is_refused_again_and_again_is_told_of_now_and_then(receiver):
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver), limits=NONE) as world,
    ):
        for _ in range(15):
            with pytest.raises(grpc.aio.AioRpcError):
                await Scene(world).vault(0)
        scene, nowhere = Scene(world), "00000000-0000-4000-8000-000000000000"
        with pytest.raises(grpc.aio.AioRpcError):
            await scene.call(
                scene.vaults.DeleteVault, vault_pb2.DeleteVaultRequest(vault_id=nowhere)
            )
        await until(lambda: "VAULT_NOT_FOUND" in reasons(receiver))
    assert reasons(receiver) == ["RESOURCE_COUNT_LIMIT"] * 10 + ["VAULT_NOT_FOUND"]


async def test_a_change_in_doubt_is_told(receiver):
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver)) as world,
    ):
        call = await doubtful_vault(world, request_id="first-7", when="after_commit")
        await until(lambda: of_type(receiver, "change.doubtful"))
    (event,) = of_type(receiver, "change.doubtful")
    assert event["data"]["call"] == call
    assert event["data"]["request_id"] == "first-7"
    assert event["data"]["operation"] == "VaultService/CreateVault"
    assert event["data"]["tenant"] == "payments"
    assert event["data"]["principal"] == "test"
    assert not of_type(receiver, "change.refused")
    assert_valid(receiver.got)
    assert "canary-name" not in json.dumps(receiver.got)


async def doubtful_vault(world, **how):
    """The id of a call of which nobody knows whether CBR has carried it out."""
    order(world, "cut", "VaultService/CreateVault", when=how.pop("when"))
    scene, spec = Scene(world), {"name": "canary-name", "billing": BILLING}
    with pytest.raises(grpc.aio.AioRpcError) as doubtful:
        await scene.call(scene.vaults.CreateVault, vault_pb2.CreateVaultRequest(vault=spec, **how))
    assert failure_of(doubtful.value).reason == "OUTCOME_UNKNOWN"
    return dict(doubtful.value.trailing_metadata())["x-request-id"]


@pytest.mark.parametrize(
    ("when", "outcome"),
    [("after_commit", "carried_out"), ("before_commit", "not_carried_out")],
)
async def test_what_became_of_a_change_in_doubt_is_told_after_the_doubt(receiver, when, outcome):
    quota = {"markers": True, "sweep_s": 1, "settle_s": 1}
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver), quota=quota) as world,
    ):
        call = await doubtful_vault(world, request_id="first-7", when=when)
        await until(lambda: of_type(receiver, "change.settled"))
    (event,) = of_type(receiver, "change.settled")
    (doubt,) = of_type(receiver, "change.doubtful")
    assert receiver.got.index(doubt) < receiver.got.index(event)
    assert event["subject"] == doubt["subject"] == f"calls/{call}"
    assert event["data"] == doubt["data"] | {"outcome": outcome}
    assert_valid(receiver.got)
    assert "canary-name" not in json.dumps(receiver.got)


@pytest.mark.parametrize("carried_out", [True, False])
async def test_what_an_operator_decides_of_a_change_in_doubt_is_told(receiver, carried_out):
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver)) as world,
    ):
        call = await doubtful_vault(world, when="before_commit")
        await until(lambda: of_type(receiver, "change.doubtful"))
        release = quota_pb2.ReleaseReservationRequest(reservation_id=call, carried_out=carried_out)
        await QuotaServiceStub(world.channel).ReleaseReservation(
            release, metadata=world.metadata("admin")
        )
        await until(lambda: of_type(receiver, "change.settled"))
    (event,) = of_type(receiver, "change.settled")
    assert event["data"]["outcome"] == ("carried_out" if carried_out else "not_carried_out")
    assert event["data"]["tenant"] == "payments"
    assert "request_id" not in event["data"]
    assert_valid(receiver.got)


async def test_a_change_that_nobody_doubted_is_never_settled(receiver):
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver)) as world,
    ):
        await Scene(world).vault(0)
        call = await doubtful_vault(world, when="before_commit")
        await until(lambda: of_type(receiver, "change.doubtful"))
    assert [event["subject"] for event in receiver.got] == [f"calls/{call}"]


async def test_a_limit_that_is_reached_is_told_at_80_and_at_100_percent(receiver, monkeypatch):
    monkeypatch.setattr(limits, "LOOK_S", 0.05)
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver), **LIMITS) as world,
    ):
        had = len(world.emulator.state.world.vaults)
        for n in range(5):
            await Scene(world).vault(0, name=f"v{n}")
        await until(lambda: len(of_type(receiver, "limit.reached")) == 2)
    assert had == 0
    percents = [event["data"]["percent"] for event in of_type(receiver, "limit.reached")]
    assert percents == [80, 100]
    assert_valid(receiver.got)


async def test_a_limit_of_nothing_is_reached_once_something_is_used(receiver, monkeypatch):
    monkeypatch.setattr(limits, "LOOK_S", 0.05)
    none = {"metric": "QUOTA_METRIC_VAULTS", "level": "QUOTA_LEVEL_TENANT", "value": 0}
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver), **LIMITS) as world,
    ):
        await Scene(world).vault(0)
        for tenant in ("databases", "payments"):
            await QuotaServiceStub(world.channel).SetLimit(
                quota_pb2.SetLimitRequest(limit=none | {"subject": tenant}),
                metadata=world.metadata("admin"),
            )
        await until(lambda: len(of_type(receiver, "limit.reached")) == 2)
    told = [event["data"] for event in of_type(receiver, "limit.reached")]
    assert [(data["percent"], data["subject"]) for data in told] == [
        (80, "payments"),
        (100, "payments"),
    ]
    assert_valid(receiver.got)


async def test_what_becomes_of_events_is_counted_by_sink(receiver):
    receiver.status = 500
    async with (
        running_emulator() as cloud,
        telling(cloud, settings(receiver), admin={"listen": "127.0.0.1:0"}, limits=NONE) as world,
    ):
        assert (await scrape(world)).value("cbr_events_given_up_total", sink="ops") == 0
        with pytest.raises(grpc.aio.AioRpcError):
            await Scene(world).vault(0)
        failed = {"sink": "ops", "outcome": "failed"}
        await until_true(lambda: counted(world, "cbr_event_deliveries_total", **failed))
        await until_true(lambda: counted(world, "cbr_events_waiting", sink="ops"))
        receiver.status = 204
        delivered = {"sink": "ops", "outcome": "delivered"}
        await until_true(lambda: counted(world, "cbr_event_deliveries_total", **delivered))


async def counted(world, name, **labels):
    return (await scrape(world)).value(name, **labels) >= 1
