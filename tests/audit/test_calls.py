"""Every call leaves its records, with who asked for what, and of a change one before it is sent."""

import asyncio
import json
import logging

import grpc
import pytest
import structlog
from cbrgateway.v1 import quota_pb2, task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.telemetry import add_call
from tests.audit.scenes import assert_good, audit_section, audited_gateway, events, records
from tests.functional.calls import Caller, Failure, arrived, caller, order, until
from tests.functional.stage import policy_request, servers, vault, vault_request
from tests.harness import TENANTS, World, config_for


@pytest.fixture
async def world(tmp_path):
    async with audited_gateway(tmp_path) as running:
        yield running


def of(folder, call_id):
    return records(folder, uid=call_id)


async def written(folder, count, **query):
    await until(lambda: len(records(folder, **query)) >= count)
    return records(folder, **query)


async def test_a_change_leaves_its_intent_and_its_end(world, tmp_path):
    made = await vault(caller(world), 1)
    intent, end = [
        row
        for row in await written(tmp_path, 3)
        if row["api"]["operation"] == "VaultService/CreateVault"
    ]
    assert (intent["unmapped"]["event"], end["unmapped"]["event"]) == (
        "CHANGE_INTENDED",
        "CHANGE_ENDED",
    )
    assert intent["metadata"]["correlation_uid"] == end["metadata"]["correlation_uid"]
    assert intent["api"]["request"]["data"]["vault"]["name"] == "vault"
    assert intent["status_id"] == 0
    assert end["actor"]["user"]["name"] == "test"
    assert end["actor"]["authorizations"] == [
        {"decision": "Allowed", "policy": {"uid": "cbr:vaults:create"}}
    ]
    assert (
        end["metadata"]["tenant_uid"],
        end["unmapped"]["authentication"],
        end["unmapped"]["fate"],
    ) == ("payments", "api_key", "DONE")
    assert {"type": "vault", "uid": made.id} in end["resources"]
    assert end["src_endpoint"]["ip"] == "127.0.0.1"
    upstream = end["unmapped"]["upstream"]
    assert (upstream["verb"], upstream["path"], upstream["status"], upstream["sent"]) == (
        "POST",
        "/v3/{project_id}/vaults",
        200,
        "yes",
    )
    assert upstream["request_id"] == arrived(world, "VaultService/CreateVault")[0].request_id


async def test_a_read_leaves_one_record_without_its_request(world, tmp_path):
    await caller(world).ok("VaultService/ListVaults", {"name": "x"})
    (row,) = await written(tmp_path, 1)
    assert (row["unmapped"]["event"], row["activity_name"], row["type_uid"]) == (
        "READ_ENDED",
        "Read",
        600302,
    )
    assert "data" not in row["api"]["request"]
    assert row["unmapped"]["level"] == "metadata"


async def test_refusals_are_recorded_with_what_the_caller_showed(world, tmp_path):
    nobody = Caller(world.channel, (("authorization", "Bearer guess-1"),))
    await nobody.fails("VaultService/ListVaults")
    await nobody.fails("VaultService/ListVaults")
    await Caller(world.channel, (("authorization", "Bearer guess-2"),)).fails(
        "VaultService/ListVaults"
    )
    await caller(world).fails("RegionService/ListRegionProjects")
    await caller(world).fails("VaultService/DeleteVault", {"vault_id": "../x"})
    rows = await written(tmp_path, 5)
    assert {row["unmapped"]["event"] for row in rows} == {"CALL_REFUSED"}
    first, second, third, denied, invalid = rows
    hashes = [row["actor"]["user"]["credential_uid"] for row in (first, second, third)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert "guess" not in json.dumps(rows)
    assert first["severity_id"] == denied["severity_id"] == 3
    assert first["actor"]["authorizations"][0]["decision"] == "Denied"
    assert denied["api"]["response"]["error"] == "ADMINISTRATOR_ONLY"
    assert (
        denied["metadata"]["tenant_uid"],
        denied["actor"]["user"]["name"],
        denied["unmapped"]["authentication"],
    ) == (
        "payments",
        "test",
        "api_key",
    )
    assert "tenant_uid" not in first["metadata"]
    assert invalid["api"]["response"]["error"] == "FIELD_INVALID"


async def test_a_denied_project_is_recorded_with_who_asked_for_which(world, tmp_path):
    theirs, _ = TENANTS["databases"]
    for named in (theirs, "a-key-by-mistake"):
        await caller(world, "payments", ("x-cbr-project-id", named)).fails(
            "VaultService/ListVaults"
        )
    await Caller(
        world.channel, (("authorization", "Bearer guess"), ("x-cbr-project-id", theirs))
    ).fails("VaultService/ListVaults")
    denied, mistaken, unknown = await written(tmp_path, 3)
    assert denied["api"]["response"]["error"] == "PROJECT_DENIED"
    assert (denied["metadata"]["tenant_uid"], denied["cloud"]["project_uid"]) == (
        "payments",
        theirs,
    )
    assert mistaken["cloud"]["project_uid"].startswith("hmac:")
    assert denied["actor"]["authorizations"][0]["decision"] == "Denied"
    assert "project_uid" not in unknown["cloud"]


async def test_every_line_of_the_log_tells_whose_call_it_is(world):
    with structlog.testing.capture_logs(processors=[add_call]) as said:
        order(
            world,
            "status",
            "VaultService/CreateVault",
            status=200,
            body={"vault": {"id": "v"}, "novelty": 1},
        )
        await caller(world)("VaultService/CreateVault", vault_request())
        await caller(world).fails("RegionService/ListRegionProjects")
        # The line of a call is written once its answer is on its way.
        await until(lambda: len(said) > 2)
    assert {(line["tenant"], line["rpc"].partition("/")[0]) for line in said} == {
        ("payments", "VaultService"),
        ("payments", "RegionService"),
    }
    assert all(line["request_id"] for line in said)


async def test_an_rpc_that_does_not_exist_is_recorded(world, tmp_path):
    method = world.channel.unary_unary(
        "/cbrgateway.v1.VaultService/Drop\x1bAll",
        request_serializer=bytes,
        response_deserializer=bytes,
    )
    with pytest.raises(Exception, match="no such RPC"):
        await method(b"")
    (row,) = await written(tmp_path, 1)
    assert row["api"]["response"]["error"] == "UNIMPLEMENTED"


async def test_a_change_that_nobody_waits_for_is_recorded_to_its_end(world, tmp_path):
    order(world, "delay", "VaultService/CreateVault", seconds=0.5)
    call = caller(world).start("VaultService/CreateVault", vault_request())
    await until(lambda: arrived(world, "VaultService/CreateVault"))
    call.cancel()
    rows = await written(tmp_path, 3)
    assert [row["unmapped"]["event"] for row in rows] == [
        "CHANGE_INTENDED",
        "CHANGE_ENDED",
        "CHANGE_SETTLED",
    ]
    assert [row["unmapped"].get("fate") for row in rows] == [None, "PENDING", "DONE"]
    assert len({row["metadata"]["correlation_uid"] for row in rows}) == 1
    (made,) = world.emulator.state.world.vaults
    assert rows[2]["resources"] == [{"type": "vault", "uid": made}]
    order(world, "delay", "VaultService/DeleteVault", seconds=0.5)
    call = caller(world).start("VaultService/DeleteVault", {"vault_id": made})
    await until(lambda: arrived(world, "VaultService/DeleteVault"))
    call.cancel()
    rows = await written(tmp_path, 3, operation="DeleteVault")
    assert rows[2]["unmapped"]["event"] == "CHANGE_SETTLED"
    assert {"type": "vault", "uid": made} in rows[2]["resources"]
    assert rows[2]["actor"]["user"]["name"] == "test"


async def test_an_unknown_outcome_is_settled_by_recovery(tmp_path):
    quota = {"quota": {"settle_s": 1, "sweep_s": 0.2}}
    async with audited_gateway(tmp_path, sections=quota) as world:
        order(world, "cut", "VaultService/CreateVault", when="after_commit")
        failure = await caller(world).fails(
            "VaultService/CreateVault", vault_request() | {"request_id": "r-1"}
        )
        assert failure.reason == "OUTCOME_UNKNOWN"
        rows = await written(tmp_path, 3, operation="CreateVault")
        assert [row["unmapped"].get("fate") for row in rows] == [None, "UNKNOWN", "DONE"]
        again = await caller(world).ok(
            "VaultService/CreateVault", vault_request() | {"request_id": "r-1"}
        )
        # It is found by what it made, by who called, and in which project.
        assert rows[2]["resources"] == [{"type": "vault", "uid": again.vault.id}]
        assert rows[2]["actor"]["user"]["name"] == rows[1]["actor"]["user"]["name"] == "test"
        assert rows[2]["cloud"]["project_uid"] == rows[1]["cloud"]["project_uid"]
        assert records(tmp_path, resource=again.vault.id, principal="payments/test")[0] == rows[2]
        replay = (await written(tmp_path, 4, operation="CreateVault"))[3]
        assert (replay["unmapped"]["replayed"], replay["unmapped"]["request_id"]) == (True, "r-1")
        assert "fate" not in replay["unmapped"]
    assert_good(tmp_path)


async def test_the_gateways_own_tag_that_makes_room_leaves_a_record(tmp_path):
    tags = [{"key": f"key-{number}", "value": "v"} for number in range(10)]
    marked = {"quota": {"markers": True, "recovery": False}}
    async with audited_gateway(tmp_path, sections=marked) as world:
        held = await vault(caller(world), tags=tags[:9])
        mark = world.emulator.state.world.vaults[held.id].tags["gw-op"]
        adding = {"vault_id": held.id, "tag": tags[9], "request_id": "r-1"}
        await caller(world).ok("VaultService/CreateVaultTag", adding)
        assert "gw-op" not in world.emulator.state.world.vaults[held.id].tags
        (row,) = await written(tmp_path, 1, operation="DeleteVaultTag")
    assert (row["unmapped"]["event"], row["actor"]) == ("MARK_REMOVED", {"app_name": "cbr-gateway"})
    assert (row["metadata"]["correlation_uid"], row["metadata"]["tenant_uid"]) == (mark, "payments")
    assert row["resources"] == [{"type": "vault", "uid": held.id}]
    assert_good(tmp_path)


async def test_changes_of_the_gateways_own_state_leave_intents_too(world, tmp_path):
    method = "/cbrgateway.v1.QuotaService/SetLimit"
    call = world.channel.unary_unary(
        method,
        request_serializer=lambda m: m.SerializeToString(),
        response_deserializer=quota_pb2.SetLimitResponse.FromString,
    )
    limit = {"metric": "QUOTA_METRIC_VAULTS", "level": "QUOTA_LEVEL_TENANT", "value": 7}
    await call(quota_pb2.SetLimitRequest(limit=limit), metadata=world.metadata("admin"))
    rows = await written(tmp_path, 2)
    assert [(row["unmapped"]["event"], row["unmapped"].get("fate")) for row in rows] == [
        ("CHANGE_INTENDED", None),
        ("CHANGE_ENDED", "DONE"),
    ]
    assert "upstream" not in rows[1]["unmapped"]


async def test_rules_say_how_much_is_recorded_and_the_floor_holds(tmp_path):
    rules = [
        {"rpc": "VaultService/List*", "tenant": "payments", "level": "none"},
        {"rpc": "VaultService/ListVaults", "level": "request_response"},
        {"level": "none"},
    ]
    async with audited_gateway(tmp_path, {"policy": rules}) as world:
        await caller(world).ok("VaultService/ListVaults", {})
        await caller(world, "databases").ok("VaultService/ListVaults", {"name": "shown"})
        await caller(world).ok("PolicyService/CreatePolicy", policy_request())
        await caller(world).fails("VaultService/ListVaults", {"page_token": "forged"})
        rows = await written(tmp_path, 4)
    assert [row["api"]["operation"] for row in rows] == [
        "VaultService/ListVaults",
        *["PolicyService/CreatePolicy"] * 2,
        "VaultService/ListVaults",
    ]
    assert rows[0]["api"]["request"]["data"] == {"name": "shown"}
    assert "data" in rows[0]["api"]["response"]
    assert {row["unmapped"]["level"] for row in rows[1:]} == {"metadata"}
    assert "data" not in rows[1]["api"]["request"]
    assert rows[3]["unmapped"]["event"] == "CALL_REFUSED"


async def test_rules_and_the_level_of_the_log_are_taken_over_by_a_reload(tmp_path):
    before, root = structlog.get_config(), logging.getLogger().level
    async with running_emulator() as cloud:
        given = [config_for(cloud.base_url, {"audit": audit_section(tmp_path)})]
        async with (
            open_app(given[0], lambda: given[0]) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            world = World(app, cloud, channel)
            await caller(world).ok("VaultService/ListVaults")
            changed = {
                "audit": audit_section(tmp_path, policy=[{"level": "none"}]),
                "log": {"level": "error"},
            }
            given[0] = config_for(cloud.base_url, changed)
            with structlog.testing.capture_logs() as said:
                await app.reloader.reload()
            try:
                await caller(world).ok("VaultService/ListVaults")
                assert not structlog.get_logger().is_enabled_for(logging.WARNING)
            finally:
                structlog.configure(**before)
                logging.getLogger().setLevel(root)
            assert not [line for line in said if "restart" in line["event"]]
    assert len(records(tmp_path)) == 1


async def test_proxies_that_are_trusted_tell_who_calls(tmp_path):
    async with audited_gateway(
        tmp_path, {"trusted_proxies": ["127.0.0.0/8", "10.0.0.0/8"]}
    ) as world:
        await caller(world, "payments", ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.1.1.1")).ok(
            "VaultService/ListVaults"
        )
        (row,) = await written(tmp_path, 1)
    assert row["src_endpoint"] == {"ip": "192.0.2.7", "intermediate_ips": ["10.1.1.1", "127.0.0.1"]}


async def test_many_calls_at_once_all_leave_their_records(world, tmp_path):
    names = [f"n-{number}" for number in range(30)]
    answers = await asyncio.gather(
        *(caller(world)("VaultService/CreateVault", vault_request(name)) for name in names)
    )
    assert not [answer for answer in answers if isinstance(answer, Failure)]
    rows = await written(tmp_path, 60)
    assert len({row["metadata"]["correlation_uid"] for row in rows}) == 30


async def test_a_log_that_was_ended_properly_is_whole(tmp_path):
    async with audited_gateway(tmp_path, {"segment_mib": 0.01}) as world:
        for number in range(4):
            await vault(caller(world), name=f"n-{number}")
            await servers(caller(world))
    assert_good(tmp_path)
    assert "LOG_CLOSED" in events(tmp_path, own=True)
    assert list((tmp_path / "log").glob("*.gz"))


async def test_the_end_of_the_work_is_joined_to_who_asked_for_it(tmp_path):
    async with audited_gateway(
        tmp_path, sections={"tasks": {"settle_s": 1}}, pace=Pace(Mode.TIME, duration_s=1.0)
    ) as world:
        holder = await vault(caller(world), 1)
        made = await caller(world).ok(
            "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": holder.id}}
        )
        rows = await written(tmp_path, 3, uid=made.submission.id)
    assert [row["unmapped"]["event"] for row in rows] == [
        "CHANGE_INTENDED",
        "CHANGE_ENDED",
        "TASK_ENDED",
    ]
    task = rows[2]["unmapped"]["task"]
    assert (task["type"], task["status"], task["submission"]) == (
        "BACKUP",
        "SUCCEEDED",
        made.submission.id,
    )
    assert (rows[2]["metadata"]["tenant_uid"], rows[2]["api"]["operation"]) == (
        "payments",
        "CheckpointService/CreateCheckpoint",
    )


async def test_a_stream_leaves_its_beginning_and_its_end(world, tmp_path):
    tasks = TaskServiceStub(world.channel)
    watching = tasks.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata())
    await watching.read()
    rows = await written(tmp_path, 1, operation="WatchTasks")
    assert rows[0]["unmapped"]["event"] == "STREAM_STARTED"
    watching.cancel()
    rows = await written(tmp_path, 2, operation="WatchTasks")
    assert [row["unmapped"]["stage"] for row in rows] == ["STREAM_START", "STREAM_END"]
    assert rows[1]["unmapped"]["stream"]["messages"] >= 1
    assert rows[1]["status_code"] == "CANCELLED"
    # Who leaves a watch has not failed.
    assert (rows[1]["status_id"], rows[1]["status"], rows[1]["severity_id"]) == (99, "Cancelled", 1)
    assert "caller left" in rows[1]["status_detail"]
    assert len({row["metadata"]["correlation_uid"] for row in rows}) == 1
    assert records(tmp_path, outcomes=("failed",)) == []
    assert records(tmp_path, outcomes=("other",)) == [rows[1]]


async def test_a_read_whose_caller_leaves_has_not_failed(world, tmp_path):
    order(world, "delay", "VaultService/ListVaults", seconds=60)
    call = caller(world).start("VaultService/ListVaults", {})
    await until(lambda: arrived(world, "VaultService/ListVaults"))
    call.cancel()
    (row,) = await written(tmp_path, 1, operation="ListVaults")
    assert (row["unmapped"]["event"], row["status"]) == ("READ_ENDED", "Cancelled")
    assert records(tmp_path, outcomes=("other",)) == [row]


@pytest.mark.parametrize(
    "wish", [{"resume_token": "no token"}, {"heartbeat_interval": {"seconds": 4}}]
)
async def test_a_stream_with_a_wrong_argument_is_refused_as_any_call_is(world, tmp_path, wish):
    watching = TaskServiceStub(world.channel).WatchTasks(
        task_pb2.WatchTasksRequest(**wish), metadata=world.metadata()
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watching.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await until(lambda: records(tmp_path, outcomes=("refused",)))
    assert records(tmp_path, outcomes=("failed",)) == []


async def test_every_refusal_by_a_limit_is_recorded_as_one(tmp_path):
    limits = [
        {"metric": "open_streams", "level": "tenant", "value": 1},
        {"metric": "vaults", "level": "tenant", "value": 0},
    ]
    async with audited_gateway(tmp_path, sections={"limits": limits}) as world:
        tasks = TaskServiceStub(world.channel)
        watching = tasks.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata())
        await watching.read()
        with pytest.raises(grpc.aio.AioRpcError):
            await tasks.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata()).read()
        with pytest.raises(grpc.aio.AioRpcError):
            await tasks.WaitTask(task_pb2.WaitTaskRequest(task_id="x"), metadata=world.metadata())
        await caller(world).fails("VaultService/CreateVault", vault_request())
        rows = await written(tmp_path, 4)
        watching.cancel()
    told = {
        (row["api"]["response"]["error"], row["unmapped"].get("quota"))
        for row in rows
        if "response" in row["api"]
    }
    assert told == {("STREAM_LIMIT", "refused"), ("RESOURCE_COUNT_LIMIT", "refused")}


async def test_a_stream_that_was_recorded_has_an_end_whatever_the_rules_say_by_then(tmp_path):
    async with running_emulator() as cloud:
        given = [config_for(cloud.base_url, {"audit": audit_section(tmp_path)})]
        async with (
            open_app(given[0], lambda: given[0]) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            watching = TaskServiceStub(channel).WatchTasks(
                task_pb2.WatchTasksRequest(), metadata=World.metadata()
            )
            await watching.read()
            await written(tmp_path, 1, operation="WatchTasks")
            given[0] = config_for(
                cloud.base_url, {"audit": audit_section(tmp_path, policy=[{"level": "none"}])}
            )
            await app.reloader.reload()
            watching.cancel()
            rows = await written(tmp_path, 2, operation="WatchTasks")
    assert [row["unmapped"]["event"] for row in rows] == ["STREAM_STARTED", "STREAM_ENDED"]
