"""Limits and request_ids before a real gateway; the emulator's truth log says what really
arrived.
"""

import asyncio
import json
import time
from collections import Counter

import grpc
import pytest
from cbrgateway.v1 import policy_pb2, vault_pb2
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from gateway.app import open_app
from tests.functional.calls import told, until
from tests.harness import World, config_for
from tests.quota.scenes import gateway, limit, new_vault, outcome, posts, rate, usage


async def test_exactly_as_many_vaults_as_the_limit_allows():
    async with gateway(limit("vaults", "tenant", 7)) as world:
        vaults = world.stub(VaultServiceStub)
        ended = await asyncio.gather(
            *(outcome(world, vaults.CreateVault, new_vault(n)) for n in range(40))
        )
        assert Counter(e.reason for e in ended) == {"OK": 7, "RESOURCE_COUNT_LIMIT": 33}
        assert len(posts(world, committed=True)) == 7
        refused = next(e for e in ended if e.reason != "OK")
        assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        (violation,) = refused.violations
        assert (
            violation.subject,
            violation.quota_metric,
            violation.quota_id,
            violation.quota_value,
        ) == (
            "tenant:payments",
            "vaults",
            "vaults:tenant",
            7,
        )
        assert "RetryInfo" not in refused.details
        used = (await usage(world, "vaults:tenant:payments"))["vaults:tenant:payments"]
        assert (used.committed, used.reserved) == (7, 0)


async def test_a_refusal_names_every_violated_limit_and_reserves_nothing():
    limits = (
        limit("vaults", "tenant", 0),
        limit("capacity_gib", "project", 50),
        limit("growth_gib_per_day", "global", 1000),
    )
    async with gateway(*limits) as world:
        refused = await outcome(
            world, world.stub(VaultServiceStub).CreateVault, new_vault(size=100)
        )
        assert refused.reason == "CAPACITY_LIMIT"
        assert {v.quota_metric for v in refused.violations} == {"vaults", "capacity_gib"}
        assert posts(world) == []
        key = f"growth_gib_per_day:{int(time.time() // 86400)}"
        assert (await usage(world, key))[key].reserved == 0


async def test_what_exists_already_counts():
    async with gateway() as world:
        await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(1, 30))
        # The same emulator behind a gateway that has a limit and has never counted.
        config = config_for(
            world.emulator.base_url, {"limits": [limit("capacity_gib", "account", 50)]}
        )
        async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
            second = World(app, world.emulator, channel)
            refused = await outcome(
                second, second.stub(VaultServiceStub).CreateVault, new_vault(2, 21)
            )
            assert refused.reason == "CAPACITY_LIMIT"
            assert refused.violations[0].subject == "account"
            assert (
                await outcome(second, second.stub(VaultServiceStub).CreateVault, new_vault(2, 20))
            ).reason == "OK"


async def test_a_delete_makes_room_once_the_vault_is_gone():
    async with gateway(limit("vaults", "tenant", 1), limit("capacity_gib", "tenant", 10)) as world:
        vaults = world.stub(VaultServiceStub)
        made = await outcome(world, vaults.CreateVault, new_vault(1))
        assert (await outcome(world, vaults.CreateVault, new_vault(2))).reason == "CAPACITY_LIMIT"
        await outcome(
            world, vaults.DeleteVault, vault_pb2.DeleteVaultRequest(vault_id=made.response.vault.id)
        )
        for _ in range(400):
            again = await outcome(world, vaults.CreateVault, new_vault(3))
            if again.reason == "OK":
                break
            await asyncio.sleep(0.1)
        assert again.reason == "OK"


async def test_growth_counts_by_the_difference_and_auto_expand_is_refused():
    async with gateway(limit("capacity_gib", "tenant", 100)) as world:
        vaults = world.stub(VaultServiceStub)
        made = (await outcome(world, vaults.CreateVault, new_vault(1, 60))).response.vault

        def grow(size, **more):
            return vault_pb2.UpdateVaultRequest(
                vault_id=made.id, vault={"billing": {"size_gib": size}, **more}
            )

        assert (await outcome(world, vaults.UpdateVault, grow(101))).reason == "CAPACITY_LIMIT"
        assert (await outcome(world, vaults.UpdateVault, grow(100))).reason == "OK"
        expanding = await outcome(world, vaults.UpdateVault, grow(100, auto_expand=True))
        assert (expanding.reason, expanding.details["ErrorInfo"].metadata["field"]) == (
            "CAPACITY_LIMIT",
            "vault.auto_expand",
        )


async def test_a_shadow_limit_refuses_nothing():
    async with gateway(
        limit("vaults", "tenant", 0, shadow=True), rate(0.001, 10, shadow=True)
    ) as world:
        ended = [
            await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(n))
            for n in range(4)
        ]
        assert [e.reason for e in ended] == ["OK"] * 4


async def test_rates_refuse_and_tell_when_to_come_back():
    async with gateway(rate(0.05, 10)) as world:
        vaults = world.stub(VaultServiceStub)
        first = await outcome(world, vaults.ListVaults, vault_pb2.ListVaultsRequest())
        assert first.trailers["ratelimit-limit"] == "10"
        assert first.trailers["ratelimit-remaining"] == "8"
        assert float(first.trailers["ratelimit-reset"]) == pytest.approx(40, abs=1)
        assert first.trailers["x-request-id"]
        ended = [
            await outcome(world, vaults.ListVaults, vault_pb2.ListVaultsRequest(), within_s=60)
            for _ in range(8)
        ]
        refused = ended[-1]
        assert (refused.reason, refused.code) == ("RATE_LIMIT", grpc.StatusCode.RESOURCE_EXHAUSTED)
        wait_ms = refused.details["RetryInfo"].retry_delay.ToMilliseconds()
        assert 0 < wait_ms <= 40_000
        assert abs(int(refused.trailers["grpc-retry-pushback-ms"]) - wait_ms) <= 1
        hurried = await outcome(
            world, vaults.ListVaults, vault_pb2.ListVaultsRequest(), within_s=10
        )
        assert (hurried.reason, hurried.trailers["grpc-retry-pushback-ms"]) == ("RATE_LIMIT", "-1")
        assert refused.trailers["ratelimit-limit"] == "10"
        other = await outcome(
            world, vaults.ListVaults, vault_pb2.ListVaultsRequest(), tenant="databases"
        )
        assert other.reason == "OK"


async def test_places_are_held_until_the_change_has_ended():
    async with gateway(limit("concurrent_changes", "tenant", 2)) as world:
        faults = world.emulator.state.faults
        slow = faults.add(
            {"kind": "delay", "seconds": 60, "match": {"operation": "CreateVault"}, "times": 2}
        )
        vaults = world.stub(VaultServiceStub)
        held = [vaults.CreateVault(new_vault(n), metadata=world.metadata()) for n in range(2)]
        await until(lambda: len(posts(world)) == 2)
        refused = await outcome(world, vaults.CreateVault, new_vault(9))
        assert refused.reason == "CONCURRENCY_LIMIT"
        assert refused.details["RetryInfo"].retry_delay.seconds == 1
        for call in held:
            call.cancel()
        await asyncio.sleep(0.1)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(9))
        ).reason == "CONCURRENCY_LIMIT", "the callers have gone, the changes have not"
        faults.release(slow.id)
        await until(lambda: len(posts(world, committed=True)) == 2)
        for _ in range(400):
            again = await outcome(world, vaults.CreateVault, new_vault(10))
            if again.reason == "OK":
                break
            await asyncio.sleep(0.05)
        assert again.reason == "OK"
        assert (
            await outcome(world, vaults.ListVaults, vault_pb2.ListVaultsRequest())
        ).reason == "OK"


async def test_twenty_times_the_same_request_is_one_change():
    async with gateway() as world:
        vaults = world.stub(VaultServiceStub)
        world.emulator.state.faults.add(
            {"kind": "delay", "seconds": 0.2, "match": {"operation": "CreateVault"}}
        )
        ended = await asyncio.gather(
            *(outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1")) for _ in range(20))
        )
        assert {e.reason for e in ended} == {"OK"}
        assert len({e.response.SerializeToString() for e in ended}) == 1
        assert len(posts(world)) == 1
        assert Counter(e.trailers.get("replayed") for e in ended) == {None: 1, "true": 19}


async def test_another_request_under_the_same_id_is_refused_and_tenants_do_not_meet():
    async with gateway() as world:
        vaults = world.stub(VaultServiceStub)
        await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        other = await outcome(world, vaults.CreateVault, new_vault(2, request_id="r-1"))
        assert (other.reason, other.code) == (
            "IDEMPOTENCY_MISMATCH",
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        assert (
            await outcome(
                world, vaults.CreateVault, new_vault(2, request_id="r-1"), tenant="databases"
            )
        ).reason == "OK"
        assert len(posts(world)) == 2


async def test_a_refused_change_leaves_its_request_id_free():
    async with gateway() as world:
        world.emulator.state.faults.add(
            {
                "kind": "status",
                "status": 400,
                "match": {"operation": "CreateVault"},
                "body": {"error_code": "BackupService.6101", "error_msg": "no"},
            }
        )
        vaults = world.stub(VaultServiceStub)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        ).reason == "FIELD_INVALID"
        assert (
            await outcome(world, vaults.CreateVault, new_vault(2, request_id="r-1"))
        ).reason == "OK"


async def test_a_joined_change_that_does_not_end_in_time_is_aborted():
    async with gateway() as world:
        faults = world.emulator.state.faults
        slow = faults.add({"kind": "delay", "seconds": 60, "match": {"operation": "CreateVault"}})
        vaults = world.stub(VaultServiceStub)
        first = asyncio.create_task(
            outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"))
        )
        await until(lambda: posts(world))
        second = await told(
            lambda: outcome(world, vaults.CreateVault, new_vault(1, request_id="r-1"), within_s=0.8)
        )
        assert (second.reason, second.code) == ("REQUEST_IN_PROGRESS", grpc.StatusCode.ABORTED)
        faults.release(slow.id)
        assert (await first).reason == "OK"


async def test_new_vaults_carry_their_operation_and_callers_cannot():
    async with gateway() as world:
        vaults = world.stub(VaultServiceStub)
        made = await outcome(
            world, vaults.CreateVault, new_vault(1, tags=[{"key": "team", "value": "a"}])
        )
        (post,) = posts(world)
        tags = json.loads(post.body)["vault"]["tags"]
        assert tags == [
            {"key": "team", "value": "a"},
            {"key": "gw-op", "value": made.trailers["x-request-id"]},
        ]
        copied = await outcome(
            world, vaults.CreateVault, new_vault(2, tags=[{"key": "gw-op", "value": "x"}])
        )
        tags = json.loads(posts(world)[-1].body)["vault"]["tags"]
        assert tags == [{"key": "gw-op", "value": copied.trailers["x-request-id"]}]


async def test_policies_count_and_come_back():
    async with gateway(limit("policies", "project", 1)) as world:
        policies = world.stub(PolicyServiceStub)

        def new_policy(name):
            return policy_pb2.CreatePolicyRequest(
                policy={
                    "name": name,
                    "operation_type": "POLICY_OPERATION_TYPE_BACKUP",
                    "operation_definition": {"timezone": "UTC+08:00", "max_backups": 1},
                    "trigger": {
                        "properties": {"pattern": ["FREQ=DAILY;INTERVAL=1;BYHOUR=14;BYMINUTE=00"]}
                    },
                }
            )

        made = await outcome(world, policies.CreatePolicy, new_policy("a"))
        assert made.reason == "OK"
        assert (
            await outcome(world, policies.CreatePolicy, new_policy("b"))
        ).reason == "RESOURCE_COUNT_LIMIT"
        await outcome(
            world,
            policies.DeletePolicy,
            policy_pb2.DeletePolicyRequest(policy_id=made.response.policy.id),
        )
        for _ in range(400):
            again = await outcome(world, policies.CreatePolicy, new_policy("c"))
            if again.reason == "OK":
                break
            await asyncio.sleep(0.05)
        assert again.reason == "OK"
