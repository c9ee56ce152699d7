"""Traces of a running gateway, as a real receiver of OTLP gets them over HTTP."""

import asyncio
import contextlib
import ssl
import subprocess
import sys

import grpc
import msgspec
import pytest
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SpanExportResult
from pydantic import ValidationError

from emulator.server import running_emulator
from emulator.settings import PAYMENTS_PROJECT_ID
from emulator.transitions import Mode, Pace
from gateway import extras
from gateway.app import open_app
from gateway.audit.otlp import _record as as_otlp
from gateway.tracing.opening import Tracing, _exporter, _Sender
from gateway.tracing.settings import TracingSettings
from testkit.identities import authority, certificate, dns
from tests.audit.scenes import audited_gateway, records
from tests.functional import stage
from tests.functional.calls import BINDINGS, Caller, arrived, caller, order, until
from tests.functional.collector import collecting, values
from tests.functional.test_credentials import with_password
from tests.harness import World, config_for, running_gateway
from tests.metrics.scrape import OPEN_METRICS, scrape

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-{PARENT}-{flag}" for flag in ("01", "00"))
LIST, GET, CREATE = (f"VaultService/{rpc}" for rpc in ("ListVaults", "GetVault", "CreateVault"))
NOWHERE = "00000000-0000-4000-8000-000000000000"
CANARY = "canary-of-the-headers"


def server_name(rpc):
    return f"cbrgateway.v1.{rpc}"


def client_name(rpc):
    return f"{BINDINGS[rpc].method} {BINDINGS[rpc].path}"


def tracing(collector, **more):
    return {"endpoint": collector.address, **more}


@pytest.fixture
def collector():
    with collecting() as collector:
        yield collector


async def came(collector, *names):
    """Spans of these names, one of each: they are sent some seconds later, or at the end."""
    await until(lambda: all(map(collector.named, names)))
    return [collector.named(name)[0] for name in names]


def ended(lines, event="call"):
    return [line for line in lines() if line["event"] == event]


# Calls
# --------------------------------------------------------------------------------------------------


async def test_a_call_continues_the_trace_of_its_caller_up_to_each_attempt(
    collector, tmp_path, lines
):
    sections = {"tracing": tracing(collector), "admin": {"listen": "127.0.0.1:0"}}
    async with audited_gateway(tmp_path, sections=sections) as world:
        order(world, "status", LIST, status=503)
        await caller(world, "payments", ("traceparent", SAMPLED), ("tracestate", "a=b")).ok(LIST)
        vault = await stage.vault(caller(world))
        await caller(world).ok(GET, {"vault_id": vault.id})
        shown = (await scrape(world, OPEN_METRICS)).text
    call, first = await came(collector, server_name(LIST), client_name(LIST))
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    assert (call.kind, call.trace_state) == (Span.SPAN_KIND_SERVER, "a=b")
    assert call.status.code == Status.STATUS_CODE_UNSET
    known = values(call.attributes)
    (line,) = [line for line in lines() if line["event"] == "call" and line["rpc"] == LIST]
    assert known == {
        "rpc.system.name": "grpc",
        "rpc.method": server_name(LIST),
        "rpc.response.status_code": "OK",
        "cbrgateway.call": line["request_id"],
        "cbrgateway.attempts": 2,
        "cbrgateway.tenant": "payments",
        "cbrgateway.principal": "test",
        "cbrgateway.project": PAYMENTS_PROJECT_ID,
    }
    assert line["trace_id"] == TRACE

    first, second = collector.named(client_name(LIST))
    for each in (first, second):
        assert (each.kind, each.trace_id) == (Span.SPAN_KIND_CLIENT, call.trace_id)
        assert each.parent_span_id == call.span_id
        assert call.start_time_unix_nano <= each.start_time_unix_nano < each.end_time_unix_nano
    host, _, port = world.emulator.base_url.removeprefix("http://").partition(":")
    asked = {
        "http.request.method": "GET",
        "url.template": "/v3/{project_id}/vaults",
        "server.address": host,
        "server.port": int(port),
        "cbrgateway.operation": "ListVault",
    }
    failed, well = values(first.attributes), values(second.attributes)
    assert (
        failed.items() >= {**asked, "http.response.status_code": 503, "error.type": "503"}.items()
    )
    assert "http.request.resend_count" not in failed
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert (
        well.items()
        >= {**asked, "http.response.status_code": 200, "http.request.resend_count": 1}.items()
    )
    assert "error.type" not in well
    assert second.status.code == Status.STATUS_CODE_UNSET

    (create,) = collector.named(server_name(CREATE))
    assert create.parent_span_id == b"", "a trace that begins here"
    assert collector.named(client_name(CREATE))[0].parent_span_id == create.span_id
    for rpc, span in ((LIST, call), (CREATE, create)):
        rows = [row for row in records(tmp_path) if row["api"]["operation"] == rpc]
        assert {row["unmapped"]["trace_id"] for row in rows} == {span.trace_id.hex()}
        copy = as_otlp(msgspec.json.encode(rows[-1]))
        assert copy.trace_id == span.trace_id
        assert f'trace_id="{span.trace_id.hex()}"' in shown
    assert "cbr_upstream_attempt_seconds_bucket" in shown
    assert collector.resource["service.name"] == "cbr-gateway"
    sent = repr([each for each in collector.spans if each.kind == Span.SPAN_KIND_CLIENT])
    assert vault.id not in sent
    assert PAYMENTS_PROJECT_ID not in sent


async def test_calls_that_fail_have_the_codes_of_grpc(collector):
    sections = {"tracing": tracing(collector)}
    async with running_gateway(sections=sections) as world:
        await caller(world, "nobody").fails(LIST)
        await caller(world).fails(GET, {"vault_id": NOWHERE})
        order(world, "status", "PolicyService/ListPolicies", status=500, times=None)
        await caller(world).fails("PolicyService/ListPolicies", timeout_s=5)
        unknown = world.channel.unary_unary("/cbrgateway.v1.VaultService/Explode")
        with pytest.raises(grpc.aio.AioRpcError):
            await unknown(b"", metadata=(("traceparent", SAMPLED),))
        await until(lambda: not world.app.servers.in_flight.number)
    found = await came(
        collector,
        *map(server_name, (LIST, GET, "PolicyService/ListPolicies")),
        "grpc",
        client_name(GET),
    )
    refused, missing, broken, other, asked = found
    assert [values(span.attributes)["rpc.response.status_code"] for span in found[:4]] == [
        "UNAUTHENTICATED",
        "NOT_FOUND",
        "INTERNAL",
        "UNIMPLEMENTED",
    ]
    unset, error = Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR
    assert [span.status.code for span in found[:4]] == [unset, unset, error, error]
    assert values(refused.attributes)["cbrgateway.reason"] == "CREDENTIALS_INVALID"
    assert "error.type" not in values(missing.attributes)
    assert values(missing.attributes)["cbrgateway.reason"] == "VAULT_NOT_FOUND"
    assert values(broken.attributes)["error.type"] == "INTERNAL"
    assert values(other.attributes)["rpc.method"] == "_OTHER"
    assert (other.trace_id.hex(), other.parent_span_id.hex()) == (TRACE, PARENT)
    assert values(asked.attributes)["error.type"] == "404"
    assert not collector.named(client_name(LIST)), "nothing was sent for a caller nobody knows"


async def test_a_call_that_is_cancelled_and_its_request(collector, lines):
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        order(world, "delay", LIST, seconds=60)
        call = caller(world).start(LIST, {})
        await until(lambda: arrived(world, LIST))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: ended(lines))
    span, request = await came(collector, server_name(LIST), client_name(LIST))
    assert values(span.attributes)["rpc.response.status_code"] == "CANCELLED"
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert values(request.attributes)["error.type"] == "cancelled"
    assert request.parent_span_id == span.span_id


async def test_a_change_that_outlives_its_caller_stays_in_its_trace(collector, lines):
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        held = order(world, "delay", CREATE, seconds=60)
        call = caller(world).start(CREATE, stage.vault_request())
        await until(lambda: arrived(world, CREATE))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: ended(lines))
        world.emulator.state.faults.release(held)
        await until(lambda: ended(lines, "change ended after its caller had gone"))
    span, request = await came(collector, server_name(CREATE), client_name(CREATE))
    assert request.parent_span_id == span.span_id
    assert values(request.attributes)["http.response.status_code"] == 200
    assert request.end_time_unix_nano > span.end_time_unix_nano


async def test_the_end_of_work_names_the_trace_of_the_call_that_started_it(tmp_path, collector):
    watch = {"busy_s": 0.1, "idle_s": 0.2, "follow": "always"}
    sections = {"tracing": tracing(collector), "watch": watch, "tasks": {"settle_s": 1}}

    def ends():
        found = records(tmp_path)
        return [row for row in found if row["unmapped"]["event"] == "TASK_ENDED"]

    pace = Pace(Mode.IMMEDIATE)
    async with audited_gateway(tmp_path, sections=sections, pace=pace) as world:
        await stage.backup(caller(world, "payments", ("traceparent", SAMPLED)))
        await until(ends)
    assert ends()[0]["unmapped"]["trace_id"] == TRACE


async def test_a_watch_is_one_span_and_its_polls_are_nobodys(collector):
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        stub = world.stub(TaskServiceStub)
        metadata = world.metadata("payments", ("traceparent", SAMPLED))
        call = stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=metadata)
        event = await call.read()
        seen = 1
        while event.WhichOneof("event") != "snapshot_end":
            event, seen = await call.read(), seen + 1
        call.cancel()
        await until(lambda: not world.app.servers.in_flight.number)
    (span,) = await came(collector, server_name("TaskService/WatchTasks"))
    known = values(span.attributes)
    assert (known["rpc.response.status_code"], known["cbrgateway.messages"]) == ("CANCELLED", seen)
    assert span.trace_id.hex() == TRACE
    (poll, *_) = await came(collector, client_name("TaskService/ListTasks"))
    assert poll.trace_id.hex() != TRACE
    assert poll.parent_span_id == b""


# How many
# --------------------------------------------------------------------------------------------------


async def test_callers_choose_unless_the_configuration_does(collector, lines):
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        await caller(world, "payments", ("traceparent", UNSAMPLED)).ok(LIST)
    (line,) = [line for line in lines() if line["event"] == "call"]
    assert line["trace_id"] == TRACE, "theirs may be recorded elsewhere"
    none = tracing(collector, sample_ratio=0)
    async with running_gateway(sections={"tracing": none}) as world:
        await caller(world).ok(LIST)
        await caller(world, "payments", ("traceparent", SAMPLED)).ok(GET, await own(world))
    every = tracing(collector, parent_based=False)
    async with running_gateway(sections={"tracing": every}) as world:
        await caller(world, "payments", ("traceparent", UNSAMPLED)).ok("PolicyService/ListPolicies")
    await came(collector, server_name(GET), server_name("PolicyService/ListPolicies"))
    assert not collector.named(server_name(LIST))
    assert not collector.named(server_name(CREATE))
    assert not collector.named(client_name(LIST))


async def own(world):
    return {"vault_id": (await stage.vault(caller(world))).id}


@pytest.mark.parametrize(
    "parent", ["", "00-0-0-01", SAMPLED.upper(), f"ff{SAMPLED[2:]}", "x" * 9999]
)
async def test_a_broken_parent_begins_a_trace(collector, parent):
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await caller(world, "payments", ("traceparent", parent)).ok(LIST)
    (span,) = await came(collector, server_name(LIST))
    assert span.parent_span_id == b""


async def test_a_broken_parent_is_recorded_no_more_often_than_none(collector):
    sections = {"tracing": tracing(collector, sample_ratio=0)}
    async with running_gateway(sections=sections) as world:
        await caller(world, "payments", ("traceparent", SAMPLED.upper())).ok(LIST)
        await caller(world, "payments", ("traceparent", SAMPLED)).ok("PolicyService/ListPolicies")
    await came(collector, server_name("PolicyService/ListPolicies"))
    assert not collector.named(server_name(LIST))
    assert not collector.named(client_name(LIST))


async def test_a_token_of_iam_is_asked_for_in_the_trace_of_a_call(collector):
    async with (
        running_emulator() as cloud,
        open_app(with_password(config_for(cloud.base_url, {"tracing": tracing(collector)}))) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        await Caller(channel, World.metadata()).ok(LIST)
    call, asked = await came(collector, server_name(LIST), "POST /v3/auth/tokens")
    assert (asked.trace_id, asked.parent_span_id) == (call.trace_id, call.span_id)
    assert values(asked.attributes)["http.response.status_code"] == 201


# The collector
# --------------------------------------------------------------------------------------------------


async def test_a_collector_that_refuses_costs_a_line_and_no_call(collector, lines):
    collector.status = 400
    more = {"headers": {"Authorization": {"env": "AK"}}}
    async with running_gateway(sections={"tracing": tracing(collector, **more)}) as world:
        for _ in range(3):
            await caller(world).ok(LIST)
    await until(lambda: collector.asked)
    assert collector.headers["authorization"]
    await until(lambda: [line for line in lines() if line["event"].startswith("traces cannot")])
    told = [line for line in lines() if line["event"].startswith("traces")]
    assert [line["level"] for line in told] == ["error"]
    assert "400" in told[0]["cause"]
    assert collector.headers["authorization"] not in repr(lines())


@pytest.mark.parametrize(
    ("status", "page", "told"),
    [(301, b"", "301"), (308, b"", "308"), (200, b"<html>Please log in.</html>", "a page")],
)
async def test_a_proxy_that_answers_for_the_collector_has_not_taken_spans(
    collector, lines, status, page, told
):
    """OpenTelemetry's exporter takes each answer below 400 for a success."""
    collector.status, collector.page = status, page
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        await caller(world).ok(LIST)
    await until(lambda: [line for line in lines() if line["event"].startswith("traces cannot")])
    (line,) = [line for line in lines() if line["event"].startswith("traces")]
    assert (line["level"], told in line["cause"]) == ("error", True)


async def test_spans_that_a_collector_rejects_are_told_until_it_takes_all(collector, lines):
    """The exporter does not read what a collector answers."""
    tracing = Tracing(TracingSettings(endpoint=collector.address))
    sender = _Sender(_exporter(TracingSettings(endpoint=collector.address), tracing._trusted))
    for collector.rejected in (0, 3, 5, 0, 2):
        assert sender.export(()) is SpanExportResult.SUCCESS
    told = [(line["event"], line.get("spans")) for line in lines() if "spans" in line["event"]]
    assert told == [
        ("the collector rejects spans", 3),
        ("the collector takes all spans again", None),
        ("the collector rejects spans", 2),
    ]
    sender.shutdown()
    await tracing.aclose()


async def test_a_silent_collector_holds_up_neither_calls_nor_the_end(collector, lines):
    collector.goes_on.clear()
    async with running_gateway(sections={"tracing": tracing(collector)}) as world:
        await caller(world).ok(LIST)
    assert [line for line in lines() if line["event"].startswith("the last traces were not sent")]
    collector.goes_on.set()


async def test_nothing_is_loaded_without_tracing():
    code = (
        "import asyncio, sys\n"
        "from tests.harness import config_for\n"
        "from gateway.app import open_app\n"
        "async def main():\n"
        "    async with open_app(config_for('http://127.0.0.1:9')):\n"
        "        print([m for m in sys.modules if m.startswith('opentelemetry')"
        " or m.startswith('gateway.tracing.') and m != 'gateway.tracing.settings'])\n"
        "asyncio.run(main())\n"
    )
    shown = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"


# Settings
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"endpoint": "collector:4318"}, "is no address of a collector"),
        ({"endpoint": "https://user:word@collector"}, "is no address of a collector"),
        ({"endpoint": "https://collector:x"}, "its port is no number"),
        ({"endpoint": "https://collector?x=y"}, "is no address of a collector"),
        ({"sample_ratio": 1.5}, "less than or equal to 1"),
        ({"sample_ratio": -0.1}, "greater than or equal to 0"),
        ({"headers": {"a b": {"env": "AK"}}}, "has no name of an HTTP header"),
        ({"ca_file": "/etc/hostname"}, "has a ca_file and an endpoint in plain text"),
    ],
)
def test_settings_that_are_wrong(wrong, told):
    with pytest.raises(ValidationError, match=told):
        TracingSettings.model_validate({"endpoint": "http://collector:4318", **wrong})


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "otel", ("opentelemetry.nothing.of.it",))
    with pytest.raises(ValidationError, match=r"pip install 'cbr-gateway\[otel\]'"):
        config_for("http://127.0.0.1:9", {"tracing": {"endpoint": "http://collector:4318"}})


async def test_other_authorities_of_the_collector_are_taken_over(tmp_path):
    """For connections that are made from then on; a file that holds none changes nothing."""
    file, first, other = tmp_path / "ca.pem", authority("first"), authority("other")
    file.write_bytes(first.pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    show(serving, tmp_path / "pair.pem", certificate(first, dns("localhost")))
    with collecting(serving) as collector:
        settings = TracingSettings(endpoint=collector.address, ca_file=file)
        tracing = Tracing(settings)
        renewable = tracing.certificates()
        assert (renewable.setting, renewable.files) == ("tracing.ca_file", (file,))
        exporter = _exporter(settings, tracing._trusted)
        assert exporter.export(()) is SpanExportResult.SUCCESS
        file.write_bytes(b"rubbish")
        with pytest.raises(OSError, match="certificate"):
            renewable.read()
        assert exporter.export(()) is SpanExportResult.SUCCESS
        show(serving, tmp_path / "pair.pem", certificate(other, dns("localhost")))
        file.write_bytes(other.pem)
        renewable.read()()
        assert exporter.export(()) is SpanExportResult.SUCCESS
        assert collector.asked == 3
        await tracing.aclose()


def show(serving, file, pair):
    """For new handshakes."""
    file.write_bytes(pair.key_pem + pair.pem)
    serving.load_cert_chain(file)
