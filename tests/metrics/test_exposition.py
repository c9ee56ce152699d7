"""What the metrics of a running gateway say after things have happened to it."""

import contextlib
from pathlib import Path

import grpc
import pytest
from cbrgateway.v1 import task_pb2, vault_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from pydantic import TypeAdapter

from gateway.metrics.labels import NOBODY, OTHER
from gateway.metrics.metrics import FAMILIES
from gateway.reasons import REASONS, reason_name
from gateway.state import StoreDown
from gateway.tenants.identifiers import Identifier
from tests.functional.calls import caller, order
from tests.harness import running_gateway, tenant_entry
from tests.metrics.scrape import OPEN_METRICS, scrape
from tests.metrics.until import until_true

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
ADMIN = {"admin": {"listen": "127.0.0.1:0"}}
SAMPLED = ADMIN | {"metrics": {"sample_s": 0.05}}
SERVICE = {"grpc_type": "unary", "grpc_service": "cbrgateway.v1.VaultService"}
LIST, GET, CREATE = (f"VaultService/{rpc}" for rpc in ("ListVaults", "GetVault", "CreateVault"))
NEW = {
    "vault": {
        "name": "vault",
        "billing": {
            "size_gib": 100,
            "object_type": "OBJECT_TYPE_SERVER",
            "protect_type": "PROTECT_TYPE_BACKUP",
            "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
        },
    }
}
NOWHERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def world():
    async with running_gateway(sections=SAMPLED) as world:
        yield world


# The whole of it
# --------------------------------------------------------------------------------------------------


async def test_the_page_lists_exactly_what_is_exposed(world):
    await caller(world).ok(LIST)
    text = (await scrape(world)).text
    shown = {tuple(line.split()[2:4]) for line in text.splitlines() if line.startswith("# TYPE ")}
    assert shown == {(each.name, each.kind) for each in FAMILIES}
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    wanted = [
        f"| `{each.name}` | {each.kind}{f', {each.unit}' if each.unit else ''} |"
        f" {', '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for each in FAMILIES
    ]
    assert [row for row in rows if row in wanted] == wanted, "put these rows into the page:\n" + (
        "\n".join(wanted)
    )


async def test_labels_are_those_that_are_declared(world):
    await caller(world).ok(LIST)
    found = await scrape(world)
    declared = {each.name.removesuffix("_total"): set(each.labels) for each in FAMILIES}
    for name, labels in found.series:
        base = name.removesuffix("_total")
        for suffix in ("_bucket", "_count", "_sum"):
            base = base if base in declared else base.removesuffix(suffix)
        assert {label for label, _ in labels} - {"le"} == declared[base], name


async def test_it_is_open_metrics_where_that_is_asked_for(world):
    await caller(world).ok(LIST)
    text = (await scrape(world, OPEN_METRICS)).text
    (example,) = [line for line in text.splitlines() if " # {" in line]
    assert example.startswith("grpc_server_handling_seconds_bucket{")
    assert '# {request_id="' in example
    assert text.endswith("# EOF\n")
    assert "# UNIT grpc_server_handling_seconds seconds" in text


async def test_every_reason_is_there_before_it_was_ever_given(world):
    found = await scrape(world)
    for reason in map(reason_name, REASONS):
        assert found.value("cbr_call_errors_total", reason=reason) == 0
        assert found.value("cbr_call_last_error_timestamp_seconds", reason=reason) == 0
    for result in ("done", "nothing", "unknown"):
        assert found.value("cbr_changes_total", result=result) == 0
        assert found.value("cbr_change_last_end_timestamp_seconds", result=result) == 0


async def test_switched_off_there_is_no_page_and_calls_go_on():
    off = ADMIN | {"metrics": {"enabled": False}}
    async with running_gateway(sections=off) as world:
        await caller(world).ok(LIST)
        with pytest.raises(AssertionError, match="there is nothing here"):
            await scrape(world)


# Calls
# --------------------------------------------------------------------------------------------------


async def test_calls_are_counted_by_code_reason_and_tenant(world):
    payments = caller(world)
    await payments.ok(LIST)
    await payments.fails(GET, {"vault_id": NOWHERE})
    await caller(world, "databases").ok(LIST)
    with contextlib.suppress(grpc.aio.AioRpcError):
        await world.stub(VaultServiceStub).ListVaults(vault_pb2.ListVaultsRequest())
    found = await scrape(world)
    lists, get = SERVICE | {"grpc_method": "ListVaults"}, SERVICE | {"grpc_method": "GetVault"}
    assert found.value("grpc_server_started_total", **lists) == 3
    assert found.value("grpc_server_handled_total", **lists, grpc_code="OK") == 2
    assert found.value("grpc_server_handled_total", **lists, grpc_code="Unauthenticated") == 1
    assert found.value("grpc_server_handled_total", **get, grpc_code="NotFound") == 1
    assert found.value("grpc_server_handling_seconds_count", **lists) == 3
    assert found.value("cbr_call_errors_total", reason="VAULT_NOT_FOUND") == 1
    assert found.value("cbr_tenant_calls_total", tenant="payments", grpc_code="OK") == 1
    assert found.value("cbr_tenant_calls_total", tenant="payments", grpc_code="NotFound") == 1
    assert found.value("cbr_tenant_calls_total", tenant="databases", grpc_code="OK") == 1
    assert (
        found.value("cbr_tenant_calls_total", tenant="(unknown)", grpc_code="Unauthenticated") == 1
    )
    assert found.value("cbr_calls_in_flight") == 0


async def test_calls_are_counted_as_grpc_itself_sees_them(world):
    """Those of the services' port only, and one whose caller has gone, too."""
    call = caller(world)
    await call.ok(LIST)
    order(world, "delay", LIST, seconds=30)
    gone = call.start(LIST, {})
    await until_true(lambda: started(world, 2))
    gone.cancel()
    await until_true(lambda: ended(world, "failed", 1))
    assert await ended(world, "succeeded", 1)
    assert await started(world, 2)


async def started(world, count):
    return await ended(world, "started", count)


async def ended(world, state, count):
    found = await scrape(world, under_way=1)
    return found.value("cbr_grpc_core_calls_total", state=state) == count


async def test_rpcs_that_do_not_exist_share_one_series(world):
    for name in ("ListVolts", "ListBolts"):
        call = world.channel.unary_unary(
            f"/cbrgateway.v1.VaultService/{name}",
            request_serializer=None,
            response_deserializer=None,
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"", metadata=world.metadata())
    found = await scrape(world)
    nobody = {"grpc_type": "unary", "grpc_service": "unknown", "grpc_method": "unknown"}
    assert found.value("grpc_server_handled_total", **nobody, grpc_code="Unimplemented") == 2
    assert "Volts" not in found.text


async def test_tenants_beyond_the_cap_share_a_label():
    sections = ADMIN | {"metrics": {"max_tenants": 1, "tenants": ["databases"]}}
    async with running_gateway(sections=sections) as world:
        for tenant in ("payments", "databases", "standby"):
            await caller(world, tenant).ok(LIST)
        found = await scrape(world)
        assert found.value("cbr_tenant_calls_total", tenant="databases", grpc_code="OK") == 1
        assert found.value("cbr_tenant_calls_total", tenant="(other)", grpc_code="OK") == 2
        assert found.value("cbr_tenant_calls_total", tenant="payments", grpc_code="OK") is None


async def test_no_tenant_is_counted_with_the_others_for_its_name():
    """Whatever names tenants may have."""
    called = {"payments": "other", "databases": "unknown", "standby": "third"}
    tenants = [tenant_entry(key) | {"id": name} for key, name in called.items()]
    sections = ADMIN | {"tenants": tenants, "metrics": {"tenants": ["other", "unknown"]}}
    async with running_gateway(sections=sections) as world:
        for key in called:
            await caller(world, key).ok(LIST)
        await caller(world, "nobody").fails(LIST)
        found = await scrape(world)
        of = {"other": 1, "unknown": 1, "(other)": 1}
        for tenant, count in of.items():
            assert found.value("cbr_tenant_calls_total", tenant=tenant, grpc_code="OK") == count
        unknown = {"tenant": "(unknown)", "grpc_code": "Unauthenticated"}
        assert found.value("cbr_tenant_calls_total", **unknown) == 1


@pytest.mark.parametrize("label", [OTHER, NOBODY])
def test_labels_for_several_are_no_names(label):
    with pytest.raises(ValueError, match="is not an identifier"):
        TypeAdapter(Identifier).validate_python(label)


# CBR
# --------------------------------------------------------------------------------------------------


async def test_each_attempt_at_cbr_is_counted_with_what_it_proves(world):
    order(world, "status", LIST, status=503, times=1)
    order(world, "cut", GET, times=1)
    payments = caller(world)
    await payments.ok(LIST)
    await payments.fails(GET, {"vault_id": NOWHERE})
    found = await scrape(world)

    def attempts(operation, outcome, status):
        known = {"operation": operation, "outcome": outcome, "status": status}
        return found.total("cbr_upstream_attempts_total", **known)

    assert attempts("ListVault", "ambiguous", "503") == 1
    assert attempts("ListVault", "definite", "200") == 1
    assert attempts("ShowVault", "ambiguous", "") == 1
    assert attempts("ShowVault", "definite", "404") == 1
    assert found.total("cbr_upstream_attempt_seconds_count", operation="ListVault") == 2
    assert found.total("cbr_retry_budget_tokens") == 1000 - 2 * 14
    assert found.total("cbr_breaker_open") == 0
    assert found.total("cbr_upstream_connections_in_use") == 0


async def test_a_change_that_nobody_knows_of_is_counted(world):
    order(world, "cut", CREATE, when="after_commit", times=1)
    failed = await caller(world).fails(CREATE, NEW)
    assert failed.reason == "OUTCOME_UNKNOWN"
    found = await scrape(world)
    assert found.value("cbr_changes_total", result="unknown") == 1
    assert found.value("cbr_change_last_end_timestamp_seconds", result="unknown") > 1e9
    assert found.value("cbr_call_errors_total", reason="OUTCOME_UNKNOWN") == 1
    assert found.value("cbr_call_last_error_timestamp_seconds", reason="OUTCOME_UNKNOWN") > 1e9

    async def noticed():
        return (await scrape(world)).value("cbr_ledger_operations", state="UNKNOWN") == 1

    await until_true(noticed)


async def test_a_breaker_that_opens_is_seen(world):
    order(world, "status", LIST, status=500, times=None)
    payments = caller(world)
    for _ in range(12):
        await payments.fails(LIST)
    found = await scrape(world)
    assert found.value("cbr_breakers_open", level="operation") == 1
    assert found.value("cbr_breakers_open", level="object") == 0


# The store, limits and streams
# --------------------------------------------------------------------------------------------------


async def test_a_store_that_does_not_answer_is_seen(world, monkeypatch):
    async def up():
        return (await scrape(world)).value("cbr_store_up") == 1

    async def down():
        return (await scrape(world)).value("cbr_store_up") == 0

    async def silent(*_):
        raise StoreDown("it does not answer")

    await until_true(up)
    with monkeypatch.context() as patched:
        patched.setattr(world.app.store.operations, "opened", silent)
        await until_true(down)
    await until_true(up)


async def test_requests_to_the_store_are_measured(world):
    await caller(world).ok(CREATE, NEW)
    found = await scrape(world)
    assert found.value("cbr_store_request_seconds_count", request="operations.begin") == 1
    assert found.value("cbr_store_request_seconds_count", request="operations.commit") == 1
    assert found.value("cbr_store_failures_total", request="operations.begin") == 0


async def test_use_of_rates_and_of_what_runs_at_once_is_seen():
    limits = [
        {"metric": "requests", "level": "tenant", "per_second": 0.01, "burst": 100},
        {
            "metric": "requests",
            "level": "global",
            "method_class": "list",
            "per_second": 0.01,
            "burst": 50,
        },
        {"metric": "open_streams", "level": "tenant", "value": 7},
    ]
    async with running_gateway(sections=SAMPLED | {"limits": limits}) as world:
        await caller(world).ok(LIST)
        stub = TaskServiceStub(world.channel)
        stream = stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata("payments"))
        await stream.read()

        async def seen():
            found = await scrape(world, under_way=1)
            ours = {"level": "tenant", "subject": "payments"}
            lists = {"metric": "requests:list", "level": "global", "subject": ""}
            return [
                (
                    round(found.value("cbr_limit_used", **each)),
                    found.value("cbr_limit_value", **each),
                )
                for each in (
                    {"metric": "open_streams", **ours},
                    {"metric": "requests", **ours},
                    lists,
                )
            ] == [(1, 7), (3, 100), (2, 50)]

        await until_true(seen)
        stream.cancel()


async def test_use_and_refusals_of_limits_are_seen():
    limits = [
        {"metric": "vaults", "level": "tenant", "value": 1},
        {"metric": "vaults", "level": "tenant", "value": 0, "shadow": True},
    ]
    quota = {"settle_s": 0.1, "markers": False, "recovery": False}
    sections = SAMPLED | {"limits": limits, "quota": quota}
    async with running_gateway(sections=sections) as world:
        payments = caller(world)
        await payments.ok(CREATE, NEW)
        refused = await payments.fails(CREATE, NEW)
        assert refused.reason == "RESOURCE_COUNT_LIMIT"

        async def seen():
            found = await scrape(world)
            whose = {"metric": "vaults", "level": "tenant", "subject": "payments"}
            used = found.value("cbr_limit_used", **whose)
            return (used, found.value("cbr_limit_value", **whose)) == (1, 1)

        await until_true(seen)
        found = await scrape(world)
        assert found.value("cbr_limit_refusals_total", metric="vaults", level="tenant") == 1
        shadow = {"metric": "vaults", "level": "tenant"}
        assert found.value("cbr_limit_shadow_refusals_total", **shadow) == 1


async def test_streams_are_counted_with_why_they_ended(world):
    stub = world.stub(TaskServiceStub)
    stream = stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata(), timeout=30)
    await stream.read()
    found = await scrape(world, under_way=1)
    assert found.value("cbr_streams_open") == 1
    assert found.value("cbr_stream_events_total") >= 1
    assert "cbr_watch_source_lag_seconds" in found.names()
    await world.app.hub.end(10)
    while await stream.read() is not grpc.aio.EOF:
        pass

    async def ended():
        found = await scrape(world)
        one = found.value("cbr_stream_cuts_total", reason="SHUTDOWN")
        return (found.value("cbr_streams_open"), one) == (0, 1)

    await until_true(ended)


async def test_the_audit_log_is_seen(tmp_path):
    (tmp_path / "key").write_text("k" * 32)
    audit = {"directory": str(tmp_path / "audit"), "key": {"file": str(tmp_path / "key")}}
    async with running_gateway(sections=ADMIN | {"audit": audit}) as world:
        await caller(world).ok(CREATE, NEW)

        async def written():
            found = await scrape(world)
            at = found.value("cbr_audit_last_record_timestamp_seconds")
            waiting = found.value("cbr_audit_waiting_records")
            return at and (found.value("cbr_audit_up"), waiting) == (1, 0)

        await until_true(written)


async def test_a_reading_that_fails_takes_no_other_with_it(world, monkeypatch):
    monkeypatch.setattr(world.app.hub, "counts", None)
    found = await scrape(world)
    assert found.value("cbr_streams_open") is None
    assert found.value("cbr_store_up") == 1
