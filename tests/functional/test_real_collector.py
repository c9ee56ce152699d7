"""Audit records and traces in an OpenTelemetry collector: a real one, where one is installed.

A distribution with the receiver `otlp` and the exporter `file`, such as `otelcol-contrib`, or the
smaller one that `make collector` builds from tests/otelcol, on the PATH; without it the test is
skipped, but not where OTELCOL_NEEDED is set. What a
gateway sends is tested everywhere with receivers of ours: test_traces.py, and in
tests/audit/test_shipping.py.
"""

import asyncio
import contextlib
import json
import os
import shutil

import grpc
import pytest
import yaml

from gateway.audit.segments import counted, raised, segments
from testkit.ports import free_port
from tests.audit.scenes import audited_gateway, records
from tests.functional import stage
from tests.functional.calls import caller, until

CREATE = "VaultService/CreateVault"


@pytest.fixture
def program():
    if found := shutil.which("otelcol-contrib") or shutil.which("otelcol"):
        return found
    assert "OTELCOL_NEEDED" not in os.environ, "a collector is to be there"
    pytest.skip("no OpenTelemetry collector is installed (otelcol-contrib)")


@contextlib.asynccontextmanager
async def collecting(program, folder):
    """Its ports for OTLP over gRPC and over HTTP; it writes traces.json and logs.json."""
    rpc, http = free_port(), free_port()
    local = "127.0.0.1"
    kinds = ("logs", "traces")
    protocols = {
        "grpc": {"endpoint": f"{local}:{rpc}"},
        "http": {"endpoint": f"{local}:{http}"},
    }
    config = {
        "receivers": {"otlp": {"protocols": protocols}},
        "exporters": {f"file/{kind}": {"path": str(folder / f"{kind}.json")} for kind in kinds},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                kind: {"receivers": ["otlp"], "exporters": [f"file/{kind}"]} for kind in kinds
            },
        },
    }
    (folder / "otelcol.yaml").write_text(yaml.safe_dump(config))
    with (folder / "otelcol.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, "--config", f"file:{folder / 'otelcol.yaml'}", stdout=log, stderr=log
        )
        try:
            async with grpc.aio.insecure_channel(f"{local}:{rpc}") as channel:
                await asyncio.wait_for(channel.channel_ready(), 30)
            yield rpc, http
        finally:
            process.terminate()
            await process.wait()


KEYS = {
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "traces": ("resourceSpans", "scopeSpans", "spans"),
}


def sent(folder, kind):
    """What the collector has written: the rows of each request, in their order."""
    resources, scopes, rows = KEYS[kind]
    file = folder / f"{kind}.json"
    whole = file.read_text().rpartition("\n")[0] if file.exists() else ""
    documents = [json.loads(line) for line in whole.splitlines()]
    return [
        row
        for document in documents
        for resource in document[resources]
        for scope in resource[scopes]
        for row in scope[rows]
    ]


@pytest.mark.timeout(120)
async def test_records_and_traces_arrive_and_belong_together(program, tmp_path):
    async with collecting(program, tmp_path) as (rpc, http):
        otlp = {"otlp": {"endpoint": f"http://127.0.0.1:{rpc}"}}
        sections = {"tracing": {"endpoint": f"http://127.0.0.1:{http}", "sample_ratio": 1}}
        async with audited_gateway(tmp_path, otlp, sections=sections) as world:
            await stage.vault(caller(world))
            await caller(world).fails("RegionService/ListRegionProjects")
        written = [line.decode() for line in counted(segments(tmp_path / "log")["one"], raised)]
        await until(
            lambda: len(sent(tmp_path, "logs")) >= len(written) and sent(tmp_path, "traces")
        )
    logs, spans = sent(tmp_path, "logs"), sent(tmp_path, "traces")
    assert [each["body"]["stringValue"] for each in logs] == written
    (ended,) = [each for each in logs if each.get("eventName") == "CHANGE_ENDED"]
    (row,) = [row for row in records(tmp_path) if row["unmapped"]["event"] == "CHANGE_ENDED"]
    (call,) = [each for each in spans if each["name"] == f"cbrgateway.v1.{CREATE}"]
    assert ended["traceId"] == call["traceId"] == row["unmapped"]["trace_id"]
    parents = {each["parentSpanId"] for each in spans if each["name"].startswith("POST ")}
    assert call["spanId"] in parents
