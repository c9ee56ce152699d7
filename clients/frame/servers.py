"""The stage of the clients' tests: an emulated CBR and a gateway with TLS, limits and an issuer of
tokens, in processes of their own.
"""

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
import yaml
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc.jwk import ECKey

from clients.frame.languages import ROOT
from emulator import settings as emulated
from gateway.tenants import key_hash
from testkit.identities import (
    AUDIENCE,
    ISSUER,
    authority,
    certificate,
    claims,
    dns,
    key_set,
    signed,
)
from testkit.ports import free_port

API_KEY: Final = "key-of-payments"
LIMITED_KEY: Final = "key-of-databases"
_REGION: Final = "cn-north-4"
_SLOW_RATE: Final = {"metric": "requests", "per_second": 2, "burst": 10}
_START_S: Final = 30
_STOP_S: Final = 15


@dataclass(slots=True)
class Servers:
    """Both processes. The gateway keeps its store over a restart."""

    folder: Path
    address: str
    health: str
    http: str
    emulator: str
    closed: str
    """An address where nobody listens."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        port = self.emulator.rpartition(":")[2]
        self._run("emulator", "emulator", "--port", port, "--duration", "2")
        self._serve()

    def restart(self) -> None:
        """Ends the gateway as an operator would, and starts it again at the same address."""
        self._end("gateway")
        self._serve()

    def stop(self) -> None:
        for name in list(self.processes):
            self._end(name)

    def environ(self) -> dict[str, str]:
        """What a client's tests need to know."""
        return {
            "CBR_TEST_ADDRESS": self.address,
            "CBR_TEST_HTTP_ADDRESS": self.http,
            "CBR_TEST_CLOSED_ADDRESS": self.closed,
            "CBR_TEST_CA_FILE": str(self.folder / "ca.pem"),
            "CBR_TEST_OTHER_CA_FILE": str(self.folder / "other-ca.pem"),
            "CBR_TEST_CERTIFICATE_FILE": str(self.folder / "client.crt"),
            "CBR_TEST_KEY_FILE": str(self.folder / "client.key"),
            "CBR_TEST_OTHER_CERTIFICATE_FILE": str(self.folder / "stranger.crt"),
            "CBR_TEST_OTHER_KEY_FILE": str(self.folder / "stranger.key"),
            "CBR_TEST_API_KEY": API_KEY,
            "CBR_TEST_LIMITED_KEY": LIMITED_KEY,
            "CBR_TEST_TOKEN": (self.folder / "token").read_text(encoding="utf-8"),
        }

    def _serve(self) -> None:
        self._run(
            "gateway",
            "gateway",
            "serve",
            "--config",
            str(self.folder / "gateway.yaml"),
            "--log-level",
            "warning",
        )
        self._wait_until_it_serves()

    def _run(self, name: str, *arguments: str) -> None:
        path = os.pathsep.join((str(ROOT / "generated" / "python"), str(ROOT)))
        secrets = {
            "AK": emulated.ACCESS_KEY,
            "SK": emulated.SECRET_KEY,
            "PAGE_TOKEN_KEY": "a key for tests, and for nothing else",
        }
        environ = os.environ | {"PYTHONPATH": path} | secrets
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, env=environ, stdout=log, stderr=log
            )

    def _end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_until_it_serves(self) -> None:
        """Raises RuntimeError when the gateway does not come up in time; the last lines of its log
        are in the message.
        """
        until = time.monotonic() + _START_S
        with grpc.insecure_channel(
            self.health, options=(("grpc.enable_http_proxy", 0),)
        ) as channel:
            while time.monotonic() < until and self.processes["gateway"].poll() is None:
                with contextlib.suppress(grpc.RpcError):
                    answer = health_pb2_grpc.HealthStub(channel).Check(
                        health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True
                    )
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
        raise RuntimeError(
            "the gateway does not"
            f" serve:\n{(self.folder / 'gateway.log').read_text(errors='replace')[-2000:]}"
        )


@contextlib.contextmanager
def running_servers(folder: Path) -> Iterator[Servers]:
    """Fresh servers, their files below `folder`."""
    address, health, http, emulator = (f"127.0.0.1:{free_port()}" for _ in range(4))
    # Bound and not listening: a connection is refused, and nobody else gets the port.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        servers = Servers(folder, address, health, http, f"http://{emulator}", nobody)
        _write_files(servers)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()


def _write_files(servers: Servers) -> None:
    """Certificates, a token, and the configuration."""
    issuer, ours = ECKey.generate_key("P-256", {"kid": "test"}), authority()
    others = authority("another authority")
    names = dns("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    pairs = {
        "server": certificate(ours, *names),
        "expired": certificate(ours, *names, lasts=-timedelta(hours=1)),
        "client": certificate(ours, dns("client")),
        "stranger": certificate(others, dns("client")),
    }
    token = signed(issuer, claims(time.time(), exp=int(time.time()) + 3000), "ES256")
    files = {
        "ca.pem": ours.pem,
        "other-ca.pem": others.pem,
        "keys.json": key_set(issuer),
        "token": token.encode(),
        "gateway.yaml": yaml.safe_dump(_configuration(servers)).encode(),
    }
    for name, pair in pairs.items():
        files |= {f"{name}.crt": pair.pem, f"{name}.key": pair.key_pem}
    for name, content in files.items():
        (servers.folder / name).write_bytes(content)


def _configuration(servers: Servers) -> Mapping[str, Any]:
    folder = servers.folder
    ci = {"id": "ci", "jwt": {"issuer": "test", "subject": "ci"}, "role": "operator"}
    return {
        "server": {
            "listen": servers.address,
            "health_listen": servers.health,
            "drain_delay_s": 0,
            "drain_grace_s": 2,
            "tls": {
                "certificate_file": str(folder / "server.crt"),
                "key_file": str(folder / "server.key"),
            },
        },
        "admin": {"listen": None},
        "http": {"listen": servers.http},
        "upstream": {
            "regions": {_REGION: {"endpoint": servers.emulator, "iam_endpoint": servers.emulator}},
            "credentials": {
                "main": {
                    "kind": "access_key",
                    "access_key": {"env": "AK"},
                    "secret_key": {"env": "SK"},
                }
            },
        },
        "issuers": {
            "test": {
                "issuer": ISSUER,
                "audience": AUDIENCE,
                "jwks": {"file": str(folder / "keys.json")},
            }
        },
        # What a watch was given before a restart is good after it.
        "page_token_key": {"env": "PAGE_TOKEN_KEY"},
        "state": {"kind": "sqlite", "path": str(folder / "state.db")},
        # An outcome that nobody knows is looked for at once.
        "quota": {"sweep_s": 1, "settle_s": 1},
        "watch": {"busy_s": 1, "idle_s": 2},
        "tenants": [
            _tenant("payments", emulated.PAYMENTS_PROJECT_ID, API_KEY, principals=[ci]),
            _tenant("databases", emulated.DATABASES_PROJECT_ID, LIMITED_KEY, limits=[_SLOW_RATE]),
        ],
    }


def _tenant(name: str, project: str, key: str, **more: object) -> Mapping[str, Any]:
    return {
        "id": name,
        "default_project": project,
        "projects": [{"id": project, "region": _REGION, "credential": "main"}],
        "api_keys": [{"id": "test", "sha256": key_hash(key)}],
        **more,
    }
