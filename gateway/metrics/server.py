"""Calls of callers and why they failed, under the names and labels of go-grpc-prometheus.

Dashboards for gRPC use them.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.core import Metric

from gateway.errors import Violation
from gateway.metrics.durations import SECONDS, Durations
from gateway.metrics.family import Family
from gateway.metrics.labels import NOBODY, Labels
from gateway.metrics.readings import Readings
from gateway.reasons import REASONS, reason_name
from gateway.rpc.call import Call
from gateway.rpc.context import Context
from gateway.telemetry import TRACE_ID
from gateway.upstream.declaration import Binding

_RPC: Final = ("grpc_type", "grpc_service", "grpc_method")
STARTED: Final = Family("grpc_server_started_total", "counter", "Calls that were begun.", _RPC)
HANDLED: Final = Family(
    "grpc_server_handled_total",
    "counter",
    "Calls that have ended, by their code, written as in Go: `OK`, `InvalidArgument`.",
    (*_RPC, "grpc_code"),
)
HANDLING: Final = Family(
    "grpc_server_handling_seconds",
    "histogram",
    "How long calls took; a stream, until it ended. Exemplars name the call: `request_id`,"
    " and `trace_id` where its trace is recorded.",
    _RPC,
)
IN_FLIGHT: Final = Family(
    "cbr_calls_in_flight", "gauge", "Calls under way, streams included.", together="sum"
)
ERRORS: Final = Family(
    "cbr_call_errors_total",
    "counter",
    "Calls that failed, by the reason that callers are told (docs/errors.md).",
    ("reason",),
)
LAST_ERROR: Final = Family(
    "cbr_call_last_error_timestamp_seconds",
    "gauge",
    "When a call at this process last failed for that reason; 0 if none has.",
    ("reason",),
)
TENANT_CALLS: Final = Family(
    "cbr_tenant_calls_total",
    "counter",
    "Calls that have ended, by tenant; `(unknown)`: nobody knows who called.",
    ("tenant", "grpc_code"),
)
FAMILIES: Final = (STARTED, HANDLED, HANDLING, IN_FLIGHT, ERRORS, LAST_ERROR, TENANT_CALLS)

_UNKNOWN: Final = "unknown"
_OK: Final = "OK"


class _Rpc:
    """What is counted of one RPC."""

    def __init__(self, labels: tuple[str, str, str]) -> None:
        self.labels = labels
        self.started = 0
        self.handled = Counter({_OK: 0})
        self.durations = Durations(SECONDS)


class ServerMetrics:
    """A CallMeter (`gateway.rpc.call`)."""

    def __init__(
        self, readings: Readings, tenants: Labels, refused: Callable[[Iterable[Violation]], None]
    ) -> None:
        """`refused` hears which limits refused a call."""
        self._tenants, self._refused = tenants, refused
        self._rpcs: dict[str, _Rpc] = {}
        self._errors = Counter(dict.fromkeys(map(reason_name, REASONS), 0))
        self._last_errors = dict.fromkeys(self._errors, 0.0)
        self._of_tenants: Counter[tuple[str, str]] = Counter()
        self._in_flight = 0
        readings.add(self._read)

    def started(self, call: Call, context: Context) -> None:  # noqa: ARG002 - of a CallMeter
        self._in_flight += 1
        binding = call.binding
        (self._rpcs.get(binding.rpc) or self._rpc(binding)).started += 1

    def ended(self, call: Call) -> None:
        self._in_flight -= 1
        rpc = self._rpcs[call.binding.rpc]
        rpc.handled[call.outcome] += 1
        rpc.durations.add(time.monotonic() - call.started, call.id, TRACE_ID.get())
        tenant = call.principal.tenant.id if call.principal is not None else ""
        self._of_tenants[tenant, call.outcome] += 1
        if call.reason:
            self._failed(call.reason)
            self._refused(call.violations)

    def unknown_rpc(self, outcome: str, reason: str, context: Context) -> None:  # noqa: ARG002 - as above
        """Of all RPCs that do not exist together, since callers choose their names."""
        rpc = self._rpcs.setdefault(_UNKNOWN, _Rpc(("unary", _UNKNOWN, _UNKNOWN)))
        rpc.started += 1
        rpc.handled[outcome] += 1
        self._failed(reason)

    def _failed(self, reason: str) -> None:
        self._errors[reason] += 1
        self._last_errors[reason] = time.time()

    def _rpc(self, binding: Binding) -> _Rpc:
        service, method = binding.descriptor.containing_service.full_name, binding.descriptor.name
        kind = "server_stream" if binding.descriptor.server_streaming else "unary"
        found = self._rpcs[binding.rpc] = _Rpc((kind, service, method))
        return found

    def _read(self) -> Iterable[Metric]:
        rpcs = list(self._rpcs.values())
        yield STARTED.total((rpc.labels, rpc.started) for rpc in rpcs)
        yield HANDLED.total(
            ((*rpc.labels, code_in_go(outcome)), count)
            for rpc in rpcs
            for outcome, count in list(rpc.handled.items())
        )
        yield HANDLING.histogram((rpc.labels, rpc.durations) for rpc in rpcs)
        yield IN_FLIGHT.one(self._in_flight)
        yield ERRORS.total(((reason,), count) for reason, count in self._errors.items())
        yield LAST_ERROR.gauge(((reason,), at) for reason, at in self._last_errors.items())
        of_tenants: Counter[tuple[str, str]] = Counter()
        for (tenant, outcome), count in list(self._of_tenants.items()):
            label = self._tenants.of(tenant) if tenant else NOBODY
            of_tenants[label, code_in_go(outcome)] += count
        yield TENANT_CALLS.total(of_tenants.items())


def code_in_go(name: str) -> str:
    """`INVALID_ARGUMENT` as `InvalidArgument`."""
    return name if name == _OK else "".join(part.capitalize() for part in name.split("_"))
