"""Secrets that stand where they do not belong: at every value and every key of a configuration, and
in what is told of it not a trace of them.
"""

import copy
import enum
import json
import os
import re
from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli.main import main
from gateway.config import Config, ConfigError, Layers, masking, read_layers, shown, validated
from gateway.config.schema import _models_of
from gateway.secret import masked
from tests.functional.serving import Gateway, configuration
from tests.unit.test_config import certificate

CANARIES = {
    "access key": "QWERTZ7UIOPASDFGHJ4K",
    "secret key": "Xk93jdLQmz7vPq2RtY8uWb4Nc6Ff1Hs5Gg0Jd3Aa",
    "base64": "h4nWq/2fXbT+9LkRz7pVd0cQmYs8eGuA1jHx5NoZ3w==",
    "password": "c4nary+Secret/in%the^wrong=place",
    "quotes": "p4ss'w0rd\\\"w1th q9uotes\tK7tab",
    "random hex": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "token": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjNG5hcnkifQ.c2lnbmF0dXJlQzRuYXJ5",
    "URL": "https://user9Qx7:Pw8Zk3Vd5@host.example/a?token=Tk6Rm2Xw9Lq4",
    "PEM": (
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"
    ),
}
TRACES = {
    name: [
        text.lower()
        for text in re.findall(
            r"[A-Za-z0-9]{6,}", canary.replace("host.example", "").replace("https", "")
        )
    ]
    for name, canary in CANARIES.items()
}
PUBLIC = {"PEM": {"private", "begin"}, "base64": set(), "password": {"secret"}, "quotes": {"uotes"}}
ENVIRON = {"KEY": "whsec_" + "k" * 40}
LEFT_OUT = "(left out)"
"""For a key that cannot stand beside another one."""
SECRET = {"env": "KEY"}
HEX = "0" * 31
SAMPLES: dict[str, Any] = {
    "server.tls.certificate_file": "a.crt",
    "server.tls.key_file": "a.key",
    "server.tls.client_ca_file": "a.crt",
    "tracing.endpoint": "https://collector.example:4318",
    "tracing.ca_file": "a.crt",
    "tracing.headers": {"Authorization": SECRET},
    "upstream.regions.endpoint": "https://cbr.example",
    "upstream.regions.iam_endpoint": "https://iam.example",
    "upstream.credentials.kind": None,
    "upstream.credentials.access_key": SECRET,
    "upstream.credentials.secret_key": SECRET,
    "upstream.credentials.security_token": SECRET,
    "upstream.credentials.user": "robot",
    "upstream.credentials.password": SECRET,
    "upstream.credentials.domain": "domain",
    "upstream.transport.proxy": "http://proxy.example:80",
    "upstream.transport.ca_file": "a.crt",
    "issuers.issuer": "https://login.example",
    "issuers.audience": "gateway",
    "issuers.jwks.url": "https://login.example/keys",
    "issuers.jwks.file": LEFT_OUT,
    "tenants_dir": LEFT_OUT,
    "tenants.id": "acme",
    "tenants.default_project": HEX + "1",
    "tenants.projects.id": HEX + "1",
    "tenants.projects.region": "main",
    "tenants.projects.credential": "main",
    "tenants.projects.enterprise_project_id": "0",
    "tenants.api_keys.id": "first",
    "tenants.api_keys.sha256": "1" * 64,
    "tenants.principals.id": "second",
    "tenants.principals.api_key": LEFT_OUT,
    "tenants.principals.jwt.issuer": "main",
    "tenants.principals.jwt.subject": "system:serviceaccount:prod:api",
    "tenants.principals.spiffe": LEFT_OUT,
    "tenants.principals.dns_san": LEFT_OUT,
    "tenants.principals.role": "viewer",
    "tenants.principals.permissions": LEFT_OUT,
    "tenants.limits.metric": "vaults",
    "tenants.limits.value": 5,
    "tenants.limits.per_second": LEFT_OUT,
    "tenants.limits.burst": LEFT_OUT,
    "tenants.limits.method_class": LEFT_OUT,
    "http.listen": "127.0.0.1:8080",
    "state.url": SECRET,
    "state.copies": 1,
    "state.timeout_s": 1,
    "server.limits.max_connections_per_address": 50,
    "limits.metric": "vaults",
    "limits.value": 5,
    "limits.per_second": LEFT_OUT,
    "limits.burst": LEFT_OUT,
    "limits.method_class": LEFT_OUT,
    "quota.carry_out_s": 60,
    "audit.directory": "log",
    "audit.key": SECRET,
    "audit.writer": "one",
    "audit.anchors": "anchors",
    "audit.retention_days": 90,
    "audit.trusted_proxies": ["10.0.0.0/8"],
    "audit.otlp.endpoint": "https://collector.example:4317",
    "audit.otlp.ca_file": "a.crt",
    "audit.otlp.headers": {"authorization": SECRET},
    "audit.policy.level": "request",
    "events.sinks.name": "on-call",
    "events.sinks.url": "https://hooks.example/cbr",
    "events.sinks.keys": [SECRET],
    "events.sinks.ca_file": "a.crt",
    "page_token_key": SECRET,
}
Place = tuple[str | int, ...]


def filled(model: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every key of the settings with a value: its default, or a sample where that is none."""
    data: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        models, container = _models_of(field.annotation)
        key = ".".join((*path, name))
        if models:
            entries = [filled(each, (*path, name)) for each in models]
            data[name] = {
                "[]": entries[:1],
                ".<name>": dict(zip(("main", "other"), entries, strict=False)),
                "": entries[0],
            }[container]
        elif key == "upstream.credentials.kind":
            (data[name],) = field.annotation.__args__
        else:
            default = (
                None
                if field.is_required()
                else field.get_default(call_default_factory=True, validated_data={})
            )
            data[name] = SAMPLES[key] if key in SAMPLES else plain(default)
            assert data[name] is not None, f"give a sample for {key}"
    return data


def plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return (
        list(value)
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, Path)
        else value
    )


def places(node: Any, path: Place = ()) -> Iterator[Place]:
    """Of every value that holds no other one."""
    children = (
        list(node.items())
        if isinstance(node, dict)
        else list(enumerate(node))
        if isinstance(node, list)
        else []
    )
    for key, child in children:
        yield from places(child, (*path, key))
    if not children:
        yield path


def keys(node: Any, path: Place = ()) -> Iterator[Place]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield (*path, key)
            yield from keys(child, (*path, key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from keys(child, (*path, index))


def without_left_out(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: without_left_out(child) for key, child in node.items() if child != LEFT_OUT}
    return [without_left_out(child) for child in node] if isinstance(node, list) else node


def holder(data: Any, place: Place) -> Any:
    for part in place[:-1]:
        data = data[part]
    return data


def with_value(place: Place, value: object) -> dict[str, Any]:
    data = copy.deepcopy(FULL)
    holder(data, place)[place[-1]] = value
    return without_left_out(data)


def with_key(place: Place, name: str) -> dict[str, Any]:
    data = copy.deepcopy(FULL)
    found = holder(data, place)
    found[name] = found.pop(place[-1])
    return without_left_out(data)


FULL = filled(Config)
VALUES, KEYS = list(places(FULL)), list(keys(FULL))


def told(data: object, environ: dict[str, str] | None = None) -> str:
    """What `check` and `config print` say."""
    if isinstance(data, dict) and environ is None:
        # As it is read from a file, which would take most of the time.
        layers = Layers(data, {(): "gateway.yaml:1"})
    else:
        Path("gateway.yaml").write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        layers = read_layers(Path("gateway.yaml"), ENVIRON | (environ or {}), {})
    try:
        return shown(validated(layers, ENVIRON), layers)
    except ConfigError as report:
        return str(report)


def refused(text: str) -> bool:
    return re.match(r"\d+ problems? in the configuration:", text) is not None


def traces(text: str, name: str) -> list[str]:
    return [
        trace
        for trace in TRACES[name]
        if trace in text.lower() and trace not in PUBLIC.get(name, ())
    ]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    certificate("a")
    return tmp_path


def test_the_full_example_is_valid_and_shown_as_it_is() -> None:
    text = told(without_left_out(copy.deepcopy(FULL)))
    assert not refused(text), text
    printed = yaml.safe_load(text)
    assert "***" not in text.replace('"***"', "")
    assert printed["tenants"][0]["default_project"] == HEX + "1"
    assert printed["audit"]["otlp"]["headers"] == {"authorization": "***"}
    assert printed["issuers"]["main"]["jwks"]["url"] == "https://login.example/keys"


def each(found: list[Any]) -> Iterator[tuple[Any, str]]:
    """Each place with one of the canaries."""
    return zip(found, cycle(CANARIES), strict=False)


def test_no_value_is_shown_that_may_be_a_secret() -> None:
    for place, name in each(VALUES):
        if (place[-1], name) not in {("sha256", "random hex"), ("api_key", "random hex")}:
            text = told(with_value(place, CANARIES[name]))
            assert not traces(text, name), (place, text)


def test_no_key_is_shown_that_may_be_a_secret() -> None:
    for place, name in each(KEYS):
        text = told(with_key(place, CANARIES[name]))
        assert not traces(text, name), (place, text)


def test_no_secret_is_shown_in_the_place_of_its_name() -> None:
    secrets = [place for place in KEYS if holder(FULL, place)[place[-1]] == SECRET]
    assert len(secrets) >= 8
    wrong = [
        lambda text: {"env": text},
        lambda text: {"file": text},
        lambda text: {text: "KEY"},
        lambda text: {"env": "KEY", text: "x"},
    ]
    for (place, make), name in each(list(product(secrets, wrong))):
        text = told(with_value(place, make(CANARIES[name])))
        assert not traces(text, name), text
        assert ".".join(map(str, place)) in text


@pytest.mark.parametrize("name", ["access key", "secret key", "random hex"])
def test_no_secret_is_shown_that_is_part_of_a_variable(name: str) -> None:
    canary = CANARIES[name]
    base = without_left_out(copy.deepcopy(FULL))
    for variable in (
        canary,
        f"SERVER__{canary}",
        f"UPSTREAM__CREDENTIALS__{canary}__KIND",
        f"TENANTS__{canary}",
        f"{canary}__LISTEN",
    ):
        text = told(base, {f"CBR_GATEWAY_{variable}": "x"})
        assert not traces(text, name), text
        assert "environment variable CBR_GATEWAY_" in text
    for variable in ("SERVER__LISTEN", "UPSTREAM", "TENANTS", "FAILPOINT"):
        text = told(base, {f"CBR_GATEWAY_{variable}": canary})
        assert not traces(text, name), text
        assert f"CBR_GATEWAY_{variable}" in text


@pytest.mark.parametrize(
    "form",
    [
        "a: [*{}]",
        "a: !{} x",
        "a: 'x\n{}: b",
        "{}",
        "- {}",
        "{0}: 1\n{0}: 2",
        "a: &{0} [*{0}]",
        "{0}: {{x: y",
        "? [{}]\n: x",
    ],
)
def test_no_secret_is_shown_of_a_file_that_is_no_configuration(form: str) -> None:
    for name in ("access key", "secret key", "random hex"):
        text = told(form.format(CANARIES[name]))
        assert refused(text), text
        assert not traces(text, name), text


def test_what_the_commands_say_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once: where any text is valid, `config print` and `check`; then everywhere."""
    monkeypatch.setenv("KEY", ENVIRON["KEY"])
    data, canary = copy.deepcopy(FULL), CANARIES["access key"]
    for place in VALUES:
        if place[-1] in {
            "user",
            "domain",
            "audience",
            "prefix",
            "writer",
            "directory",
            "anchors",
            "rpc",
            "tenant",
        } or place == ("tenants", 0, "id"):
            holder(data, place)[place[-1]] = canary
    data["upstream"]["credentials"][canary] = data["upstream"]["credentials"].pop("main")
    data["tenants"][0]["projects"][0]["credential"] = canary
    Path("gateway.yaml").write_text(yaml.safe_dump(without_left_out(data)))
    for arguments in (["config", "print"], ["check"]):
        ran = CliRunner().invoke(main, [*arguments, "--config", "gateway.yaml"])
        assert ran.exit_code == 0, ran.output
        assert not traces(ran.output, "access key"), ran.output
    data = copy.deepcopy(FULL)
    for place in VALUES:
        holder(data, place)[place[-1]] = canary
    Path("gateway.yaml").write_text(yaml.safe_dump(without_left_out(data)))
    ran = CliRunner().invoke(main, ["check", "--config", "gateway.yaml"])
    assert ran.exit_code == 1
    assert not traces(ran.output, "access key"), ran.output


@pytest.mark.parametrize("form", ["{}", "'{}'", "{} and {}"])
def test_a_path_is_covered_however_it_is_written(form: str) -> None:
    canary = "//QWERTZ7UIOPASDFGHJ4K/.//Xk93jdLQmz7vPq2R/"
    told = masking(Layers({"state": {"path": canary}})).of(form.format(Path(canary), canary))
    assert told == form.format("***", "***")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cn-north-4", None),
        ("b2b-k8s-prod", None),
        ("cbr.cn-north-4.myhuaweicloud.com:443", None),
        ("/etc/cbr-gateway/tls/server.crt", None),
        ("system:serviceaccount:prod:gateway", None),
        ("VaultService/List*", None),
        ("[::1]:50051", None),
        ("https://login.example.com/realms/main/protocol/openid-connect/certs", None),
        (
            "https://login.example/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
            "https://login.example/***/v2.0",
        ),
        ("https://me:word@login.example/keys", "https://***@login.example/keys"),
        ("https://login.example/keys?key=word", "https://login.example/keys?***"),
        ("QWERTZ7UIOPASDFGHJ4K", "***"),
    ],
)
def test_names_addresses_and_paths_are_shown(text: str, expected: str | None) -> None:
    assert masked(text) == (expected or text)


def test_a_gateway_that_starts_and_reloads_shows_no_secret(here: Path) -> None:
    """With a secret for a name of a credential, then with all of it wrong."""
    canary = CANARIES["access key"]
    os.mkfifo(here / "pipe.yaml")
    gateway = Gateway(here / "pipe.yaml")
    try:
        data = configuration()
        data["upstream"]["credentials"][canary] = data["upstream"]["credentials"].pop("main")
        data["tenants"][0]["projects"][0]["credential"] = canary
        with gateway.asked_for() as given:
            given.append(json.dumps(data))
        gateway.until("serving")
        data["tenants"][0]["projects"][0]["credential"] = canary.lower()
        data[canary] = {canary: canary}
        gateway.process.send_signal(1)
        with gateway.asked_for() as given:
            given.append(json.dumps(data))
        assert gateway.process.stderr is not None
        while "not taken over" not in (line := gateway.process.stderr.readline()):
            assert line
            assert not traces(line, "access key"), line
        assert "tenants[0].projects[0].credential" in line
        assert not traces(line, "access key"), line
    finally:
        gateway.process.kill()
        gateway.process.communicate()
