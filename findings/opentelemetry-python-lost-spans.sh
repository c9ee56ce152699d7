#!/usr/bin/env bash
# Guess:   OpenTelemetry's OTLP/HTTP exporter for Python tells what a collector does not take. A redirect (from http to https, to a login page) is followed, or it is a
#          failure; of a partial success the rejected spans are logged, as OTLP says that clients should; `force_flush()` is False if spans were not delivered.
# Happens: A response is a success if its status is below 400, and its body is not looked at. So with the address of a proxy that redirects all spans are lost, with
#          SUCCESS and not a line in any log, as are those that the collector rejects in a partial success. `force_flush()` is True also where the export failed
#          (that one is logged), so a job that flushes before it ends takes its traces for delivered.
# Version: opentelemetry-exporter-otlp-proto-http 1.45.2, opentelemetry-sdk 1.45.2, requests 2.34.2, Python 3.11
# Source:  running it; `export` of opentelemetry/exporter/otlp/common/http.py (200 to 399), `request` of opentelemetry/exporter/http/transport/_requests.py (redirects
#          are off), `force_flush` of opentelemetry/sdk/_shared_internal; for partial successes issue 4803 of opentelemetry-python
# Advice:  Give the exporter a `session` whose response hook raises for a redirect and for a page, and logs `partial_success`: what a hook raises is a failed export.
#          Count at the collector what arrives, not in the program what was sent.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check opentelemetry-exporter-otlp-proto-http==1.45.2 opentelemetry-sdk==1.45.2 requests==2.34.2

cat >look.py <<'PYTHON'
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter

REJECTED = ExportTracePartialSuccess(rejected_spans=1, error_message="the tenant is over its quota")


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/rejects":
            self.answer(200, "application/x-protobuf", ExportTraceServiceResponse(partial_success=REJECTED).SerializeToString())
        elif self.path == "/proxy":
            self.answer(308, "text/html", b"", Location="https://127.0.0.1/proxy")
        else:
            self.answer(400, "text/plain", b"")

    def answer(self, status, kind, body, **more):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        if record.name.startswith("opentelemetry"):
            self.lines.append(f"{record.levelname}: {record.getMessage()}")


class Results(SpanExporter):
    """Passes spans on, and keeps what the exporter says of them."""

    def __init__(self, exporter):
        self.exporter, self.results = exporter, []

    def export(self, spans):
        self.results.append(self.exporter.export(spans).name)


def look(response, **_):
    if response.is_redirect:
        response.close()
        raise requests.RequestException("the collector redirects")


collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=collector.serve_forever, daemon=True).start()
told = Told()
logging.basicConfig(level=logging.DEBUG, handlers=[told])


def export(path, processor=SimpleSpanProcessor, **options):
    """Exports one span: what the exporter says, and the flush, and the log."""
    told.lines.clear()
    results = Results(OTLPSpanExporter(f"http://127.0.0.1:{collector.server_port}{path}", **options))
    provider = TracerProvider()
    provider.add_span_processor(processor(results))
    provider.get_tracer("finding").start_span("backup").end()
    flushed = provider.force_flush()
    print(f"{path}: export {results.results}, flushed {flushed}, logged {told.lines}")
    return results.results, flushed, list(told.lines)


rejected, redirected, failed = export("/rejects"), export("/proxy"), export("/broken", BatchSpanProcessor)
asking = requests.Session()
asking.hooks["response"].append(look)
advised = export("/proxy", session=asking)
as_described = (
    rejected == redirected == (["SUCCESS"], True, [])
    and failed[:2] == (["FAILURE"], True)
    and advised[0] == ["FAILURE"]
    and any(line.startswith("ERROR") and "redirects" in line for line in advised[2])
)
if not as_described:
    print("CHANGED: this is not what the head of this script describes")
sys.exit(not as_described)
PYTHON

environment/bin/python look.py
