"""Audit records as OpenTelemetry logs, over OTLP/gRPC.

The body of each is the very line of the log, so that it can be verified wherever it lands.
"""

import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
import msgspec
import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import (
    SEVERITY_NUMBER_ERROR,
    SEVERITY_NUMBER_INFO,
    SEVERITY_NUMBER_WARN,
    LogRecord,
    ResourceLogs,
    ScopeLogs,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from gateway.audit.events import PRODUCT, SELF
from gateway.audit.export import Unsent
from gateway.audit.segments import record_header
from gateway.audit.settings import OtlpSettings
from gateway.regular_file import read_file
from gateway.renewal import Renewable, Use
from gateway.upstream.http import tls_context

_SCOPE: Final = "cbrgateway.audit"
_PORT: Final = 4317
_MS: Final = 1_000_000
_SEVERITIES: Final = {
    3: (SEVERITY_NUMBER_WARN, "WARN"),
    4: (SEVERITY_NUMBER_ERROR, "ERROR"),
}
"""By OCSF's severity: medium and high. The others are information."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class OtlpCollector:
    """A Collector."""

    def __init__(self, settings: OtlpSettings, writer: str) -> None:
        self._settings = settings
        self._channel = _channel(settings, _authorities(settings))
        self._renewed: grpc.Channel | None = None
        self._timeout_s = settings.timeout_s
        self._metadata = tuple((name, secret.reveal()) for name, secret in settings.headers.items())
        named = {
            "service.name": SELF,
            "service.version": PRODUCT.version,
            "service.instance.id": writer,
        }
        self._resource = Resource(attributes=_attributes(named))

    def certificates(self) -> Renewable | None:
        """The file of authorities that the collector is known by."""
        settings = self._settings
        if settings.ca_file is None:
            return None

        def read() -> Use:
            tls_context(settings.ca_file)
            authorities = _authorities(settings)
            return lambda: self._trust(authorities)

        return Renewable("audit.otlp.ca_file", (settings.ca_file,), read)

    def _trust(self, authorities: bytes | None) -> None:
        """From the next request on: one that is under way ends on the connection that it has."""
        self._renewed = _channel(self._settings, authorities)

    def send(self, lines: list[bytes]) -> None:
        """Raises Unsent, also where a collector would not be asked again by the letter of the
        protocol: an audit record is not dropped.
        """
        scope = ScopeLogs(
            scope=InstrumentationScope(name=_SCOPE, version=PRODUCT.version),
            log_records=map(_record, lines),
        )
        request = ExportLogsServiceRequest(
            resource_logs=[ResourceLogs(resource=self._resource, scope_logs=[scope])]
        )
        if (renewed := self._renewed) is not None:
            self._channel.close()
            self._channel, self._renewed = renewed, None
        # The package has types for messages only.
        stub = LogsServiceStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            answer = stub.Export(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise Unsent(f"{error.code().name}: {error.details()}") from error
        except ValueError as error:
            raise Unsent("the channel is closed") from error
        if refused := answer.partial_success.rejected_log_records:
            # Sent again they would be refused again. They are in the log, and this line says so.
            log.error(
                "the collector has refused audit records",
                records=refused,
                cause=answer.partial_success.error_message,
            )

    def close(self) -> None:
        self._channel.close()


def _authorities(settings: OtlpSettings) -> bytes | None:
    """Raises OSError."""
    return read_file(settings.ca_file) if settings.ca_file is not None else None


def _channel(settings: OtlpSettings, authorities: bytes | None) -> grpc.Channel:
    where = urlsplit(settings.endpoint)
    target = where.netloc if where.port is not None else f"{where.netloc}:{_PORT}"
    if where.scheme == "https":
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(authorities))
    return grpc.insecure_channel(target)


def _record(line: bytes) -> LogRecord:
    body = AnyValue(string_value=line.decode("ascii", "backslashreplace"))
    try:
        record_header(line)
    except msgspec.MsgspecError:
        # Somebody has changed the file. Verification names the line; here it must not keep the
        # others from being sent.
        return LogRecord(
            observed_time_unix_nano=time.time_ns(),
            severity_number=SEVERITY_NUMBER_WARN,
            severity_text="WARN",
            body=body,
        )
    row = msgspec.json.decode(line)
    marks, unmapped = row["metadata"], row["unmapped"]
    known = {
        "cbrgateway.event_code": marks["event_code"],
        "cbrgateway.operation": row["api"]["operation"],
        "cbrgateway.tenant": marks.get("tenant_uid", ""),
        "cbrgateway.call": marks.get("correlation_uid", ""),
        "cbrgateway.sequence": unmapped["sequence"],
        **_of_task(row),
    }
    number, text = _SEVERITIES.get(row["severity_id"], (SEVERITY_NUMBER_INFO, "INFO"))
    return LogRecord(
        time_unix_nano=row["time"] * _MS,
        observed_time_unix_nano=time.time_ns(),
        severity_number=number,
        severity_text=text,
        event_name=unmapped["event"],
        trace_id=bytes.fromhex(unmapped.get("trace_id", "")),
        body=body,
        attributes=_attributes(known),
    )


def _of_task(row: dict[str, Any]) -> dict[str, Any]:
    """How a task ended, and what it was about."""
    task = row["unmapped"].get("task")
    if task is None:
        return {}
    known = {
        "task": task["uid"],
        "task_type": task.get("type", ""),
        "outcome": task.get("outcome", ""),
        "code": task.get("code", ""),
        "policy": task.get("policy", ""),
        "status_id": row["status_id"],
        "status_code": row.get("status_code", ""),
        "status_detail": row.get("status_detail", ""),
        "project": row["cloud"].get("project_uid", ""),
        **{f"resource.{each['type']}": each["uid"] for each in row.get("resources", ())},
    }
    return {f"cbrgateway.{name}": value for name, value in known.items()}


def _attributes(values: dict[str, Any]) -> Iterable[KeyValue]:
    for key, value in values.items():
        yield KeyValue(
            key=key,
            value=(
                AnyValue(int_value=value)
                if isinstance(value, int)
                else AnyValue(string_value=value)
            ),
        )
