"""The command line as a user meets it: what it prints, and the code it ends with."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
import yaml
from click.testing import CliRunner, Result
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gateway.cli.main import main
from gateway.operations import load_catalog
from gateway.tenants import key_hash

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "example.yaml"
CATALOG = load_catalog()
ENVIRON = {
    "ACME_ACCESS_KEY": "canary-access",
    "ACME_SECRET_KEY": "canary-secret",
    "GLOBEX_PASSWORD": "canary-password",
}


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env=env, prog_name="cbr-gateway")


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, gateway.cli.main; print(sorted({'grpc', 'pydantic', 'yaml', 'httpx',"
        " 'google.protobuf', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_serve_loads_nothing_that_its_configuration_does_not_ask_for() -> None:
    """rich comes with structlog where it is installed; the gateway requires neither it nor the
    emulator's libraries.
    """
    code = (
        "import sys, gateway.process, gateway.cli.main, gateway.config.certificates;"
        " print(sorted({'cryptography', 'watchfiles', 'joserfc.jwk', 'starlette', 'uvicorn',"
        " 'redis', 'opentelemetry', 'httpcore', 'gateway.survey', 'gateway.state.valkey',"
        " 'gateway.audit.otlp', 'cbrctl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_command_has_help() -> None:
    for command in (
        "serve",
        "check",
        "config",
        "keys",
        "bindings",
        "events",
        "explain",
        "healthcheck",
        "version",
    ):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: cbr-gateway {command}")


def test_check_counts_what_it_found() -> None:
    result = run("check", "--config", str(EXAMPLE), env=ENVIRON)
    assert (result.exit_code, result.stdout) == (
        0,
        f"OK: {len(CATALOG.bindings)} RPCs, 2 regions, 2 credentials, 2 tenants, 3 projects\n",
    )


@pytest.mark.parametrize("command", [["check"], ["config", "print"], ["serve"]])
def test_a_bad_configuration_ends_with_its_problems(command: list[str]) -> None:
    result = run(
        *command,
        "--config",
        str(EXAMPLE),
        "--log-level",
        "loud",
        env=ENVIRON | {"CBR_GATEWAY_SERVER__LISTN": "x"},
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr
        == "Error: 2 problems in the configuration:\n  server.listn (environment variable"
        " CBR_GATEWAY_SERVER__LISTN): is not a known key. Did you mean listen?\n  log.level"
        " (--log-level): must be debug, info, warning or error\n"
    )


@pytest.mark.parametrize("command", ["check", "serve"])
def test_without_a_file_it_says_so_first(command: str) -> None:
    result = run(command, env={"CBR_GATEWAY_CONFIG": None})
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr.splitlines()[1]
        == "  no configuration file was given: name one with --config FILE, or in the environment"
        " variable CBR_GATEWAY_CONFIG. Begin with a copy of config/example.yaml"
    )


def test_one_is_not_counted_as_many(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(
        "upstream:\n  regions: {cn-north-4: {endpoint: 'https://cbr.example'}}\n  credentials:"
        " {main: {kind: access_key, access_key: {env: ACME_ACCESS_KEY}, secret_key: {env:"
        " ACME_SECRET_KEY}}}\ntenants:\n  - id: one\n    default_project: p\n    projects:"
        " [{id: p, region: cn-north-4, credential: main}]\n    api_keys: [{id: k, sha256:"
        f" '{'0' * 64}'}}]\n"
    )
    result = run("check", "--config", str(config), env=ENVIRON)
    assert result.stdout.endswith(" RPCs, 1 region, 1 credential, 1 tenant, 1 project\n"), (
        result.output
    )


def test_the_file_may_be_named_by_the_environment() -> None:
    assert run("check", env=ENVIRON | {"CBR_GATEWAY_CONFIG": str(EXAMPLE)}).exit_code == 0


def test_config_print_is_yaml_without_secrets() -> None:
    result = run(
        "config", "print", "--config", str(EXAMPLE), "--listen", "127.0.0.1:0", env=ENVIRON
    )
    assert result.exit_code == 0
    assert "canary" not in result.output
    effective = yaml.safe_load(result.stdout)
    assert effective["server"]["listen"] == "127.0.0.1:0"
    assert effective["upstream"]["credentials"]["acme"]["secret_key"] == "***"
    assert '  listen: "127.0.0.1:0"  # --listen\n' in result.stdout


def test_config_schema_is_a_json_schema() -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert {
        "server",
        "http",
        "admin",
        "metrics",
        "tracing",
        "upstream",
        "issuers",
        "tenants_dir",
        "tenants",
        "state",
        "limits",
        "quota",
        "tasks",
        "watch",
        "schedules",
        "audit",
        "events",
        "log",
        "page_token_key",
    } == set(schema["properties"])


def test_a_new_key_comes_with_the_lines_to_paste() -> None:
    result = run("keys", "new", "--id", "ci")
    (key,) = re.findall(r"^cbrgw_\S{43}$", result.stdout, re.MULTILINE)
    assert yaml.safe_load(result.stdout.split("\n", 3)[3]) == [
        {"id": "ci", "sha256": key_hash(key)}
    ]


@pytest.mark.parametrize("key_id", ['a b: "x', "", "..", "a\nb"])
def test_a_key_id_that_no_configuration_takes_is_refused(key_id: str) -> None:
    result = run("keys", "new", "--id", key_id)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not an identifier" in result.stderr


def test_a_key_id_stays_text_in_yaml() -> None:
    assert (
        yaml.safe_load(run("keys", "new", "--id", "123").stdout.split("\n", 3)[3])[0]["id"] == "123"
    )


def test_bindings_are_listed_as_table_and_as_json() -> None:
    names = list(CATALOG.bindings)
    head, *lines = run("bindings").stdout.splitlines()
    assert head.split() == ["RPC", "VERB", "PATH", "OPERATION", "CLASS"]
    assert [line.split()[0] for line in lines] == names
    rows = json.loads(run("bindings", "--json").stdout)
    assert [row["rpc"] for row in rows] == names
    (vault,) = (row for row in rows if row["rpc"] == "VaultService/GetVault")
    assert vault == {
        "rpc": "VaultService/GetVault",
        "verb": "GET",
        "path": "/v3/{project_id}/vaults/{vault_id}",
        "operation": "ShowVault",
        "permission": "cbr:vaults:get",
        "class": "READ",
        "asynchronous": False,
    }


@pytest.mark.parametrize(
    "name",
    [
        "UpdateVault",
        "updatevault",
        "VaultService/UpdateVault",
        "VaultService.UpdateVault",
        "cbrgateway.v1.VaultService.UpdateVault",
        "/cbrgateway.v1.VaultService/UpdateVault",
    ],
)
def test_explain_takes_a_name_in_any_spelling(name: str) -> None:
    result = run("explain", name)
    assert result.exit_code == 0
    assert result.stdout.startswith("VaultService/UpdateVault\n  Changes a vault.")


def test_explain_takes_the_vendors_name() -> None:
    assert run("explain", "ShowVault").stdout.startswith("VaultService/GetVault\n")


def test_explain_tells_where_each_field_goes() -> None:
    text = run("explain", "UpdateVault").stdout
    assert "  CBR call     PUT /v3/{project_id}/vaults/{vault_id}\n" in text
    assert "  Read back    VaultService/GetVault\n" in text
    assert "  vault_id: string -> path {vault_id}\n" in text
    assert "    name: string -> body vault.name\n" in text
    assert "      size_gib: int32 -> body vault.billing.size\n" in text
    assert "  request_id: string -> not sent\n" in text
    assert "  VAULT_NOT_FOUND (NOT_FOUND)\n      NOT_FOUND. No such vault in this project." in text
    listing = run("explain", "ListVaults").stdout
    assert "  page_size: int32 -> query limit\n" in listing
    assert "  ids: list of string -> query id\n" in listing


def test_explain_says_of_no_field_of_the_gateway_that_cbr_has_it() -> None:
    """Of those that the messages of CBR have beside CBR's own, and of RPCs that ask CBR nothing."""
    request, _, answer = run("explain", "DeleteVault").stdout.partition("\nAnswer\n")
    for name in ("request_id: string", "validate_only: bool", "force: bool", "etag: string"):
        assert f"  {name} -> not sent\n" in request
    assert "  submission: Submission -> made here\n" in answer
    assert "    id: string -> made here\n" in answer
    listing = run("explain", "ListVaults").stdout
    assert "  filter: string -> not sent\n" in listing
    assert "    etag: string -> made here\n" in listing
    assert "    extra_fields: Struct -> keys without a field\n" in listing
    summary = run("explain", "GetProtectionSummary").stdout
    assert " -> query" not in summary
    assert " -> answer" not in summary


def test_explain_tells_the_rules_of_requests_only() -> None:
    request, _, answer = run("explain", "CreateVaultTag").stdout.partition("\nAnswer\n")
    assert "string.max_len: 36" in request
    request, _, answer = run("explain", "ListVaultTags").stdout.partition("\nAnswer\n")
    assert "page_size" in request
    assert "key: string" in answer
    assert "rules:" not in answer


def test_explain_tells_what_fields_must_keep_together() -> None:
    assert "set period_type" in " ".join(run("explain", "CreateVault").stdout.split())
    assert (
        "  rules of the whole: set project_ids, or domains\n"
        in run("explain", "AddBackupMembers").stdout
    )


@pytest.mark.parametrize("rpc", CATALOG.bindings)
def test_every_rpc_and_all_its_fields_are_explained(rpc: str) -> None:
    text = run("explain", rpc).stdout
    assert text.startswith(f"{rpc}\n  ")
    for field in CATALOG[rpc].request_type.DESCRIPTOR.fields:
        assert re.search(rf"^  {field.name}: .+ -> .+\n      \S", text, re.MULTILINE), (
            f"{field.name} has no line or no comment"
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("srve", "No such command 'srve'. Did you mean 'serve'?"),
        ("taks", "No such command 'taks'. Did you mean 'tasks'?"),
        ("zzz", "No such command 'zzz'. There is: audit, "),
        ("keys zzz", "No such command 'zzz'. There is: new."),
        ("config shw", "No such command 'shw'. There is: print, schema."),
        ("serve --log-levle info", "No such option '--log-levle'. Did you mean '--log-level'?"),
        ("--config x serve", "It stands behind its command: `cbr-gateway serve --config`."),
        ("--onlin check", "No such option '--onlin'."),
    ],
)
def test_wrong_usage_says_what_is_meant(arguments: str, said: str) -> None:
    result = run(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_an_unknown_rpc_is_wrong_usage_with_a_hint() -> None:
    result = run("explain", "CreateVualt")
    assert result.exit_code == 2
    assert "no RPC 'CreateVualt'. Did you mean VaultService/CreateVault" in result.stderr
    assert "`cbr-gateway bindings` lists them all." in run("explain", "zzzzzz").stderr


def test_version_names_what_it_stands_on() -> None:
    line = r"cbr-gateway \S+ \(python 3\.\S+, grpcio 1\.85\.1, protobuf 7\.\S+\)$"
    assert re.match(line, run("version").stdout)
    assert json.loads(run("version", "--json").stdout)["grpcio"] == "1.85.1"
    assert run("--version").stdout == f"cbr-gateway {version('cbr-gateway')}\n"


@pytest.fixture
def health_server() -> Iterator[tuple[str, health.HealthServicer]]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait()


def test_healthcheck_tells_by_its_exit_code(
    health_server: tuple[str, health.HealthServicer],
) -> None:
    address, servicer = health_server
    serving = run("healthcheck", "--address", address)
    assert (serving.exit_code, serving.stdout) == (0, f"{address}: SERVING\n")
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    draining = run("healthcheck", "--address", address, env={"http_proxy": "http://127.0.0.1:9"})
    assert (draining.exit_code, draining.stdout) == (1, f"{address}: NOT_SERVING\n")


@pytest.mark.parametrize(
    "words",
    [("check", "--online"), ("record", "--out", "nowhere"), ("healthcheck",)],
    ids=lambda words: words[0],
)
def test_a_time_that_is_no_number_is_refused(words: tuple[str, ...]) -> None:
    result = run(*words, "--timeout", "nan")
    assert result.exit_code == 2
    assert "'nan' is not a number of seconds" in result.output


def test_healthcheck_of_nothing_fails_soon() -> None:
    result = run("healthcheck", "--address", "127.0.0.1:1", "--timeout", "0.5")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: 127.0.0.1:1: ")


def started(listen: str, config: Path = EXAMPLE) -> "subprocess.Popen[str]":
    """A real `serve` without a delay before it drains."""
    settings = {
        "CBR_GATEWAY_SERVER__HEALTH_LISTEN": "127.0.0.1:0",
        "CBR_GATEWAY_ADMIN__LISTEN": "127.0.0.1:0",
        "CBR_GATEWAY_SERVER__DRAIN_DELAY_S": "0",
        "CBR_GATEWAY_LOG__FORMAT": "json",
        # The projects of the example are in the real cloud.
        "CBR_GATEWAY_WATCH__FOLLOW": "watched",
    }
    settings |= {
        "CBR_GATEWAY_PAGE_TOKEN_KEY": '{"env": "TOKEN_KEY"}',
        "TOKEN_KEY": "a key of the tests, long enough",
    }
    command = [
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--config",
        str(config),
        "--listen",
        listen,
    ]
    path = os.pathsep.join([str(ROOT), str(ROOT / "generated" / "python")])
    environ = os.environ | ENVIRON | settings | {"PYTHONPATH": path}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)


def test_serve_says_what_is_wrong_with_its_state(tmp_path: Path) -> None:
    environ = {"CBR_GATEWAY_STATE__PATH": str(tmp_path / "nowhere" / "state.db")}
    result = run(
        "serve",
        "--config",
        str(EXAMPLE),
        "--listen",
        "127.0.0.1:0",
        "--health-listen",
        "127.0.0.1:0",
        env=ENVIRON | environ,
    )
    assert result.exit_code == 1
    assert result.output.startswith("Error: the file ")
    assert (
        "cannot be used as a store: No such file or directory. Give state.path a file"
        in result.output
    )


def test_serve_serves_until_it_is_told_to_end_and_holds_its_port() -> None:
    with started("127.0.0.1:0") as gateway:
        try:
            assert gateway.stderr is not None
            serving = json.loads(gateway.stderr.readline())
            while serving["event"] != "serving":
                serving = json.loads(gateway.stderr.readline())
            assert run("healthcheck", "--address", serving["health"]).exit_code == 0
            with started(serving["address"]) as second:
                _, report = second.communicate(timeout=60)
            assert second.returncode == 1
            assert (
                report == f"Error: cannot listen on {serving['address']}: the port is taken. Choose"
                " another one or stop the other process\n"
            )
        finally:
            gateway.send_signal(signal.SIGTERM)
        _, rest = gateway.communicate(timeout=60)
    assert gateway.returncode == 0
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["draining", "stopped"]


def test_sighup_takes_over_changed_tenants(tmp_path: Path) -> None:
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    example = yaml.safe_load(EXAMPLE.read_text())
    first, second = example.pop("tenants")
    (tenants / "a.yaml").write_text(yaml.safe_dump(first))
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(example | {"tenants_dir": str(tenants)}))
    assert run("check", "--config", str(config), env=ENVIRON).stdout.endswith(
        "1 tenant, 2 projects\n"
    )
    with started("127.0.0.1:0", config) as gateway:
        try:
            assert gateway.stderr is not None
            serving = json.loads(gateway.stderr.readline())
            (tenants / "b.yaml").write_text(yaml.safe_dump(second))
            gateway.send_signal(signal.SIGHUP)
            active = json.loads(gateway.stderr.readline())
            while active["tenants"] == 1:
                active = json.loads(gateway.stderr.readline())
            assert (active["event"], active["tenants"]) == ("configuration active", 2)
            assert active["version"] != serving["config"]
        finally:
            gateway.send_signal(signal.SIGTERM)
        gateway.communicate(timeout=60)
    assert gateway.returncode == 0


def installed(site: Path, **commands: str) -> None:
    """A package as installers leave it, with entry points and the module `plugin`."""
    info = site / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {target}" for name, target in commands.items())
    (info / "entry_points.txt").write_text(f"[cbr_gateway.commands]\n{lines}\n")
    (site / "plugin.py").write_text(
        "import click\n@click.command(help='Says hello.')\ndef hello():\n   "
        " click.echo('hello')\nnothing = 1\n"
    )


def test_other_packages_add_commands_and_broken_ones_disturb_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, hello="plugin:hello", absent="no_such_module:x", odd="plugin:nothing")
    monkeypatch.syspath_prepend(tmp_path)
    assert run("hello").stdout == "hello\n"
    listing = run("--help")
    assert listing.exit_code == 0
    assert "Says hello." in listing.stdout
    absent = run("absent")
    assert (absent.exit_code, absent.stderr) == (
        1,
        (
            "Error: `absent` needs no_such_module, which is not installed. Install it: pip install"
            " plugin\n"
        ),
    )
    assert (
        run("odd").stderr
        == "Error: `odd` cannot be loaded: plugin:nothing is not a click command\n"
    )
    assert run("version").exit_code == 0


def test_an_unknown_command_is_wrong_usage() -> None:
    assert run("serv").exit_code == 2
