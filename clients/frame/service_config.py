"""Writes clients/service_config.json, the gRPC service config that every client ships: deadlines
and retries of each RPC.

Reads may be repeated. Changes may be repeated where they have a `request_id`, which the clients
fill: the gateway carries a repeated change out once. Streams have neither: the clients' loops open
them again. `make generate` writes the file, `make check` fails when it is out of date.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, MethodDescriptorProto, MethodOptions

from clients.frame import descriptors
from clients.frame.languages import CLIENTS

FILE: Final = CLIENTS / "service_config.json"
# With room for several attempts, of which each ends after 10 s for a read and after 30 s for a
# change at the latest.
_READ_TIMEOUT: Final = "20s"
_CHANGE_TIMEOUT: Final = "60s"
# A call that waits for as long as it is asked to, at most 60 s.
_WAIT_TIMEOUT: Final = "70s"
_RETRY: Final[Mapping[str, Any]] = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "5s",
    "backoffMultiplier": 3,
    # CANCELLED is also what gRPC says of calls that reach a server as it begins to stop. What the
    # caller cancels is not repeated.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
_THROTTLING: Final[Mapping[str, Any]] = {"maxTokens": 10, "tokenRatio": 0.1}


def service_config() -> dict[str, Any]:
    """As in grpc's service_config.proto, in the JSON that every implementation reads."""
    waits: list[dict[str, str]] = []
    reads: list[dict[str, str]] = []
    changes: list[dict[str, str]] = []
    others: list[dict[str, str]] = []
    for service, method, request in _methods():
        name = {"service": service, "method": method.name}
        if method.server_streaming:
            continue
        fields = {field.name for field in request.field}
        if method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS:
            (waits if "timeout" in fields else reads).append(name)
        elif "request_id" in fields:
            changes.append(name)
        else:
            others.append(name)
    config = [
        {"name": reads, "timeout": _READ_TIMEOUT, "retryPolicy": _RETRY},
        {"name": waits, "timeout": _WAIT_TIMEOUT, "retryPolicy": _RETRY},
        {"name": changes, "timeout": _CHANGE_TIMEOUT, "retryPolicy": _RETRY},
        {"name": others, "timeout": _CHANGE_TIMEOUT},
    ]
    return {"methodConfig": config, "retryThrottling": _THROTTLING}


def text() -> str:
    """One line for each RPC, so that a change shows as one."""
    one_line = json.dumps(service_config())
    broken = (
        one_line.replace('{"service"', '\n    {"service"')
        .replace('], "timeout"', '\n  ], "timeout"')
        .replace('{"name"', '\n  {"name"')
    )
    return broken.replace(", \n", ",\n") + "\n"


def _methods() -> Iterator[tuple[str, MethodDescriptorProto, DescriptorProto]]:
    files = descriptors.load().file
    messages = {
        f".{file.package}.{message.name}": message
        for file in files
        for message in file.message_type
    }
    for file in files:
        for service in file.service:
            for method in service.method:
                yield f"{file.package}.{service.name}", method, messages[method.input_type]
