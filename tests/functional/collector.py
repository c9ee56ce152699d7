"""An OpenTelemetry collector, as far as a gateway meets it: an HTTP server that reads OTLP."""

import contextlib
import gzip
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """`status`: what it answers, once it `goes_on`. `asked`: how many requests came. `page`: what
    a proxy answers in its place. `rejected`: how many spans of each request it does not take.
    """

    address: str
    status: int = 200
    page: bytes = b""
    rejected: int = 0
    asked: int = 0
    spans: list[Span] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    goes_on: threading.Event = field(default_factory=threading.Event)

    def named(self, name: str) -> list[Span]:
        """In the order in which they began."""
        found = [span for span in self.spans if span.name == name]
        return sorted(found, key=lambda span: span.start_time_unix_nano)

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.asked += 1
        if self.status != 200:
            return
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = values(each.resource.attributes)
            for scope in each.scope_spans:
                self.spans += scope.spans


def values(attributes: Any) -> dict[str, Any]:
    def value(each: KeyValue) -> Any:
        return getattr(each.value, each.value.WhichOneof("value"))

    return {each.key: value(each) for each in attributes}


@contextlib.contextmanager
def collecting(tls: ssl.SSLContext | None = None) -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.headers = dict(self.headers)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            if not collector.goes_on.wait(60):
                return
            partly = ExportTracePartialSuccess(rejected_spans=collector.rejected)
            answer = ExportTraceServiceResponse(partial_success=partly).SerializeToString()
            kind = "text/html; charset=utf-8" if collector.page else "application/x-protobuf"
            answer = collector.page or answer
            self.send_response(collector.status, "canary-of-the-collector")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        collector.address = f"https://localhost:{server.server_port}"
    collector.goes_on.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        collector.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
