"""`cbr-gateway dev` and `cbr-gateway serve` as processes: what they print, whom they answer, how
they end.
"""

import ast
import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cbrgateway.v1.vault_pb2 import ListVaultsRequest
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from click.testing import CliRunner
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from devstack.banner import Addresses, banner
from devstack.dev import USUAL
from devstack.dev import dev as dev_command
from devstack.launch import Launched, launched
from devstack.stack import configuration
from devstack.tenants import PAYMENTS, TENANTS
from devstack.wanted import Wanted
from gateway.upstream.catalog import own_services
from testkit.ports import free_port

BUF = Path(sys.executable).with_name("buf")
FLAGS = ("--listen", "--health-listen", "--admin-listen", "--emulator-listen", "--http-listen")
AT = Addresses("a:1", "b:2", "d:4", "e:5", "http://c:3")
WANTED = Wanted("x:1", "x:2", "x:3", "x:4", "x:5", 4.0, "info", None)
KEY = f"authorization: Bearer {PAYMENTS.api_key}"


@pytest.fixture(scope="module")
def dev() -> Iterator[Launched]:
    with launched() as running:
        yield running


def run_gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def buf_curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_the_banner_tells_all_one_needs(dev: Launched) -> None:
    assert "NOT FOR PRODUCTION" in dev.banner
    for tenant in TENANTS:
        assert re.search(
            rf"{tenant.api_key} +project {tenant.project_id} in {tenant.region}", dev.banner
        )
    assert len({dev.address, dev.health, dev.emulator.removeprefix("http://")}) == 3


def test_the_first_call_of_the_banner_works(dev: Launched) -> None:
    _, _, rest = dev.banner.partition("<<'END'\n")
    code, _, _ = rest.partition("\nEND\n")
    ast.parse(code)
    done = subprocess.run(
        [sys.executable, "-"], input=code, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "server-01" in done.stdout


def test_the_first_call_of_the_banner_works_with_cbrctl(dev: Launched) -> None:
    command = re.search(r"^export CBR_ADDRESS.*\n\S*cbrctl .*$", dev.banner, re.MULTILINE)
    assert command is not None
    done = subprocess.run(
        ["sh", "-c", command.group()], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "server-01" in done.stdout


@pytest.mark.parametrize("program", [r"\S*buf curl", "curl"])
def test_the_same_call_of_the_banner_works_with(program: str, dev: Launched) -> None:
    command = re.search(rf"^{program} .*\\\n.*$", dev.banner, re.MULTILINE)
    assert command is not None
    done = subprocess.run(
        ["sh", "-c", command.group()], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "server-01" in [server["name"] for server in json.loads(done.stdout)["instances"]]


def test_an_audit_log_is_kept_where_one_is_wanted(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    for _ in range(2):
        with (
            launched("--audit", str(folder)) as running,
            grpc.insecure_channel(running.address) as channel,
        ):
            assert ", no audit log" not in running.banner
            VaultServiceStub(channel).ListVaults(
                ListVaultsRequest(), metadata=[("authorization", f"Bearer {PAYMENTS.api_key}")]
            )
            command = re.search(r"^\S*cbr-gateway audit verify .*$", running.banner, re.MULTILINE)
    assert command is not None
    done = subprocess.run(
        ["sh", "-c", command.group()], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("dev: good, ")
    tail = run_gateway("audit", "tail", str(folder))
    assert tail.stdout.count("VaultService/ListVaults") == 2
    (tmp_path / "file").write_text("")
    free = [part for flag in FLAGS for part in (flag, "127.0.0.1:0")]
    refused = run_gateway("dev", "--audit", str(tmp_path / "file" / "log"), *free)
    assert refused.returncode == 1
    assert (
        "file/log cannot be used: Not a directory. Choose another directory with --audit"
        in refused.stderr
    )


def test_reflection_needs_no_key(dev: Launched) -> None:
    done = buf_curl("--list-services", f"http://{dev.address}")
    assert (done.returncode, done.stderr) == (0, "")
    services = done.stdout.split()
    ours = {name for name in services if name.startswith("cbrgateway.v1.")}
    assert ours == {service.full_name for service in own_services()}
    assert "grpc.reflection.v1.ServerReflection" in services


def test_a_call_by_reflection_is_refused_without_a_key_and_served_with_one(dev: Launched) -> None:
    url = f"http://{dev.address}/cbrgateway.v1.VaultService/"
    refused = buf_curl("-d", "{}", f"{url}ListVaults")
    assert json.loads(refused.stderr)["code"] == "unauthenticated"
    assert json.loads(buf_curl("-H", KEY, "-d", "{}", f"{url}ListVaults").stdout) == {
        "totalSize": 0
    }
    missing = buf_curl(
        "-H", KEY, "-d", '{"vault_id": "00000000-0000-4000-8000-000000000000"}', f"{url}GetVault"
    )
    assert json.loads(missing.stderr)["code"] == "not_found"


@pytest.mark.parametrize(
    "name",
    [
        "BadRequest",
        "ErrorInfo",
        "PreconditionFailure",
        "QuotaFailure",
        "RequestInfo",
        "ResourceInfo",
        "RetryInfo",
    ],
)
def test_reflection_describes_the_details_of_errors(dev: Launched, name: str) -> None:
    with grpc.insecure_channel(dev.address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        assert pool.FindMessageTypeByName(f"google.rpc.{name}").full_name == f"google.rpc.{name}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(number: signal.Signals) -> None:
    with launched() as dev, grpc.insecure_channel(dev.address) as channel:
        VaultServiceStub(channel).ListVaults(
            ListVaultsRequest(), metadata=(("authorization", f"Bearer {PAYMENTS.api_key}"),)
        )
        dev.process.send_signal(number)
        assert dev.process.wait(60) == 0
    # An ordinary gateway waits before it drains.
    assert configuration(WANTED, "http://x").server.drain_delay_s == 0


@contextlib.contextmanager
def on_a_terminal() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A `cbr-gateway dev` whose terminal is the other end of what is handed out."""
    ours, its = pty.openpty()
    free = (part for flag in FLAGS for part in (flag, "127.0.0.1:0"))
    command = [sys.executable, "-m", "gateway", "dev", *free]
    with subprocess.Popen(
        command, stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(its)
        try:
            yield ours, process
        finally:
            process.kill()


def test_a_hangup_ends_it_only_if_its_terminal_is_gone() -> None:
    with on_a_terminal() as (terminal, dev):
        assert dev.stdout is not None
        assert dev.stderr is not None
        while not dev.stdout.readline().startswith("===="):
            assert dev.poll() is None
        dev.send_signal(signal.SIGHUP)
        while "SIGHUP: there is no configuration file" not in (line := dev.stderr.readline()):
            assert line
        os.close(terminal)
        dev.send_signal(signal.SIGHUP)
        assert dev.wait(60) == 0


@pytest.mark.parametrize("flag", FLAGS)
def test_a_taken_port_is_one_clear_line(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = dict.fromkeys(FLAGS, "127.0.0.1:0") | {flag: address}
        done = run_gateway("dev", *(part for pair in flags.items() for part in pair))
    assert (done.returncode, done.stdout) == (1, "")
    text = (
        f"cannot listen on {address}: the port is taken, or the address is not one of this machine."
        f" Choose another one with {flag}"
    )
    assert done.stderr == f"Error: {text}\n"


@pytest.mark.parametrize("what", ["admin", "http"])
def test_two_ports_are_the_usual_ones_or_if_those_are_taken_free_ones(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    flag = f"--{what}-listen"
    monkeypatch.setattr(
        "devstack.dev._run", lambda wanted, *_, **__: asked.append(getattr(wanted, what))
    )
    usual = f"127.0.0.1:{free_port()}"
    monkeypatch.setattr("devstack.dev.USUAL", {**USUAL, flag: usual})
    free = [part for each in FLAGS if each != flag for part in (each, "127.0.0.1:0")]
    assert CliRunner().invoke(dev_command, free, obj=None).exit_code == 0
    with socket.create_server(("127.0.0.1", int(usual.rpartition(":")[2]))):
        assert CliRunner().invoke(dev_command, free, obj=None).exit_code == 0
        done = CliRunner().invoke(dev_command, [*free, flag, usual], obj=None)
    assert f"cannot listen on {usual}" in done.output
    assert asked == [usual, None]
    shown = banner(AT, TENANTS, WANTED)
    assert "http://d:4   /console, /metrics, /livez, /readyz, /version\n" in shown
    assert "http://e:5   the same calls as JSON, Connect and gRPC-Web\n" in shown
    note = "; a free port, since the usual one is taken\n"
    assert shown.count(note) == 0
    assert banner(AT, TENANTS, replace(WANTED, **{what: None})).count(note) == 1


def test_one_number_moves_all_ports_but_those_that_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr("devstack.dev._run", lambda _, flags, **__: asked.append(flags))
    monkeypatch.setattr("devstack.dev._taken", lambda _: ())
    options = ["--port-base", "7001", "--health-listen", "127.0.0.1:0"]
    assert CliRunner().invoke(dev_command, options, obj=None).exit_code == 0
    assert asked == [
        {
            "--listen": "127.0.0.1:7001",
            "--health-listen": "127.0.0.1:0",
            "--admin-listen": "127.0.0.1:7003",
            "--http-listen": "127.0.0.1:7004",
            "--emulator-listen": "127.0.0.1:7005",
        }
    ]
    assert list(asked[0]) == list(USUAL)
    assert CliRunner().invoke(dev_command, ["--port-base", "65534"], obj=None).exit_code == 2


def test_all_taken_ports_are_named_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        ports = [each.getsockname()[1] for each in (first, second)]
        done = run_gateway(
            "dev",
            "--listen",
            f"127.0.0.1:{ports[0]}",
            "--health-listen",
            "127.0.0.1:0",
            "--emulator-listen",
            f"127.0.0.1:{ports[1]}",
        )
    assert done.returncode == 1
    found = re.findall(
        r"cannot listen on 127\.0\.0\.1:(\d+): .* with (--\S+)$", done.stderr, re.MULTILINE
    )
    assert found == [(str(ports[0]), "--listen"), (str(ports[1]), "--emulator-listen")]
    assert 'make run ARGS="--port-base 6001"' in done.stderr.splitlines()[-1]


def test_one_address_given_twice_is_taken() -> None:
    same = f"127.0.0.1:{free_port()}"
    done = run_gateway(
        "dev", "--listen", same, "--health-listen", same, "--emulator-listen", "127.0.0.1:0"
    )
    assert done.returncode == 1
    assert f"cannot listen on {same}" in done.stderr


def test_the_banner_says_where_buf_comes_from_when_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    text = banner(AT, TENANTS, WANTED)
    assert "The same with buf, by reflection, which `make tools` installs:\n\nbuf curl" in text
    assert "`cbr-gateway demo`" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--listen", "0.0.0.0:0"), "--listen: 0.0.0.0:0 can be reached from other machines"),
        (
            ("--emulator-listen", "gateway.example:80"),
            "--emulator-listen: gateway.example:80 can be reached from other machines",
        ),
        (
            ("--health-listen", "50052"),
            "--health-listen: '50052' is not an address. Write host:port",
        ),
    ],
)
def test_an_address_must_be_a_loopback_address(arguments: tuple[str, ...], text: str) -> None:
    done = run_gateway("dev", *arguments)
    assert done.returncode == 2
    assert f"Error: {text}" in done.stderr


def test_other_machines_are_served_when_told_so() -> None:
    with launched("--listen", "0.0.0.0:0", "--allow-remote") as dev:
        assert dev.address.startswith("0.0.0.0:")


CONFIG = """\
server: {{listen: "127.0.0.1:0", health_listen: "127.0.0.1:{health}", drain_delay_s: 1, drain_grace_s: 1}}
admin: {{listen: null}}
watch: {{follow: watched}}
upstream:
  regions: {{cn-north-4: {{endpoint: "{endpoint}"}}}}
  credentials: {{main: {{kind: access_key, access_key: {{env: TEST_AK}}, secret_key: {{env: TEST_SK}}}}}}
tenants:
  - id: payments
    default_project: {project}
    projects: [{{id: {project}, region: cn-north-4, credential: main}}]
    api_keys: [{{id: test, sha256: "{key}"}}]
"""  # noqa: E501 - as it stands on the wire


def test_serve_says_not_serving_while_it_drains(tmp_path: Path) -> None:
    health = f"127.0.0.1:{(port := free_port())}"
    config = tmp_path / "gateway.yaml"
    config.write_text(
        CONFIG.format(
            health=port, endpoint="http://127.0.0.1:9", project=PAYMENTS.project_id, key="0" * 64
        )
    )
    environ = {**os.environ, "TEST_AK": "a", "TEST_SK": "b"}
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    with (
        subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process,
        grpc.insecure_channel(health) as channel,
    ):
        try:
            assert process.stderr is not None
            while json.loads(process.stderr.readline())["event"] != "serving":
                pass
            up = run_gateway("healthcheck", "--address", health)
            assert (up.returncode, up.stdout) == (0, f"{health}: SERVING\n")
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(), timeout=60
            )
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            process.send_signal(signal.SIGTERM)
            assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watch.cancel()
            assert process.wait(60) == 0
            unsigned, *rest = [json.loads(line)["event"] for line in process.stderr]
            assert unsigned.startswith("page_token_key is not set")
            assert rest == ["draining", "stopped"]
        finally:
            process.kill()
    down = run_gateway("healthcheck", "--address", health)
    assert (down.returncode, down.stderr) == (1, f"Error: {health}: UNAVAILABLE\n")
