"""The mistakes that everybody makes once: each says what to do next, at a terminal and to a
program.
"""

import socket
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cbrgateway.v1.vault_pb2 import CreateVaultRequest, ListVaultsRequest, VaultSpec
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from cbrgateway_client import CallError, Gateway

from testkit.identities import authority, certificate, dns
from testkit.ports import free_port
from tests.cbrctl.conftest import BILLING

LIST = ("vaults", "list")
ID = "00000000-0000-0000-0000-000000000000"
CREATE = ("vaults", "create", "--name", "mistake")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Address of a gRPC server with TLS, and the file of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    ours = authority("ours")
    server = certificate(ours, dns("localhost"))
    (folder / "ca.pem").write_bytes(ours.pem)
    serving = grpc.server(ThreadPoolExecutor(1))
    pair = grpc.ssl_server_credentials([(server.key_pem, server.pem)])
    port = serving.add_secure_port("127.0.0.1:0", pair)
    serving.start()
    yield f"127.0.0.1:{port}", folder / "ca.pem"
    serving.stop(None)


@pytest.fixture(scope="module")
def silent():
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def case(arguments, code, *said, **variables):
    return arguments, code, said, variables


AT_A_TERMINAL = {
    "no key": case(LIST, 3, "CREDENTIALS_INVALID", "Set CBR_API_KEY", CBR_API_KEY=""),
    "wrong key": case(LIST, 3, "the API key is not known", "Set CBR_API_KEY", CBR_API_KEY="wrong"),
    "wrong port": case(
        (*LIST, "--address", "{free}"), 3, "Nobody listens at {free}", "check --address"
    ),
    "no such host": case(
        (*LIST, "--address", "no.invalid:1"), 3, "is not known here: check --address"
    ),
    "no port": case((*LIST, "--address", "localhost"), 3, "is not HOST:PORT"),
    "health port": case((*LIST, "--address", "{health}"), 3, "the services are at 50051"),
    "emulator's port": case(
        (*LIST, "--address", "{emulator}"),
        3,
        "speaks another protocol",
        "the services are at 50051",
    ),
    "TLS to plain text": case((*LIST, "--tls"), 3, "does not speak TLS", "add --plaintext"),
    "plain text to TLS": case(
        (*LIST, "--address", "{tls}"), 3, "does not speak plain text", "add --tls"
    ),
    "unknown authority": case(
        (*LIST, "--tls", "--address", "{tls}"), 3, "is not trusted", "--ca-file"
    ),
    "another name": case(
        (*LIST, "--tls", "--address", "{tls}", "--ca-file", "{ca}"),
        3,
        "is not trusted",
        "not valid for",
    ),
    "wrong project": case((*LIST, "--project", "wrong"), 3, "PROJECT_DENIED", "with --project"),
    "missing fields": case(
        CREATE, 2, "--object-type, --protect-type", "--consistent-level", "--size-gib"
    ),
    "several broken fields": case(
        (*CREATE, *BILLING[:-2], "--size-gib", "5", "--threshold-percent", "101"),
        2,
        "vault.billing.size_gib (--size-gib): must be",
        "vault.threshold_percent (--threshold-percent): must be",
    ),
    "unknown field in pairs": case(
        (*CREATE, *BILLING, "--tags", "name=a"), 2, "vault.tags[0].name: ", "no such field", "key"
    ),
    "deadline": case(
        (*CREATE, *BILLING, "--address", "{silent}", "--deadline", "0.3"),
        4,
        "--request-id ",
        "Look whether the gateway is at {silent}",
        "--deadline SECONDS",
    ),
    "deadline of a read": case(
        (*LIST, "--address", "{silent}", "--deadline", "0.3"),
        3,
        "Look whether the gateway is at {silent}",
        "--deadline SECONDS",
    ),
    "deadline of a short way": case(
        ("backup", "now", ID, "--address", "{silent}", "--deadline", "0.3"), 4, "--request-id "
    ),
    "deadline of what is read first": case(
        ("restore", "a-name", "--yes", "--address", "{silent}", "--deadline", "0.3"),
        3,
        "--deadline SECONDS",
    ),
    "deadline of a stream": case(
        ("events", "watch", "--address", "{silent}", "--deadline", "0.3"), 3, "--deadline SECONDS"
    ),
    "time of a watch": case(
        ("tasks", "watch", "--address", "{silent}", "--timeout", "0.3"),
        1,
        "Not all has ended in 0.3 s",
        "The work goes on",
    ),
    "time without a wait": case(("backup", "now", ID, "--timeout", "5"), 2, "add --wait"),
    "no number of seconds": case((*LIST, "--deadline", "nan"), 2, "must be a number of seconds"),
    "a page of a document": case(
        ("report", "protection", "--format", "csv", "--limit", "1"), 2, "leave --format out"
    ),
    "unknown word": case(
        ("vaults", "list", "--status", "well"), 2, "'well' must be one of available"
    ),
    "unknown command": case(("vaults", "lst"), 2, "No such command 'lst'", "--help"),
}


@pytest.mark.parametrize(
    ("arguments", "code", "said", "variables"), AT_A_TERMINAL.values(), ids=[*AT_A_TERMINAL]
)
def test_at_a_terminal(ctl, dev, tls, silent, monkeypatch, *, arguments, code, said, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    known = {
        "free": f"127.0.0.1:{free_port()}",
        "health": dev.health,
        "emulator": dev.emulator.removeprefix("http://"),
        "tls": tls[0],
        "ca": str(tls[1]),
        "silent": silent,
    }
    ended = ctl(*(each.format(**known) for each in arguments))
    assert (ended.exit_code, ended.stdout) == (code, ""), ended.output
    assert not [each for each in said if each.format(**known) not in ended.stderr], ended.stderr
    assert "Traceback" not in ended.stderr


def failure(gateway, request=None, **more):
    with gateway.channel() as channel:
        vaults = VaultServiceStub(channel)
        call = vaults.CreateVault if request else vaults.ListVaults
        with pytest.raises(CallError) as failed:
            call(request or ListVaultsRequest(), **more)
    return failed.value


@pytest.mark.parametrize(
    ("address", "key", "plaintext", "said"),
    [
        ("{dev}", "", True, "ask the gateway's operator"),
        ("{dev}", "wrong", True, "ask the gateway's operator"),
        ("{free}", "k", True, "Check host and port"),
        ("{health}", "k", True, "it may be the health port"),
        ("{emulator}", "k", True, "use that of the services"),
        ("{dev}", "k", False, "plaintext=True"),
        ("{tls}", "k", True, "leave out plaintext=True"),
        ("{tls}", "k", False, "ca_file"),
    ],
)
def test_to_a_program(dev, tls, *, address, key, plaintext, said):
    known = {
        "dev": dev.address,
        "free": f"127.0.0.1:{free_port()}",
        "health": dev.health,
        "emulator": dev.emulator.removeprefix("http://"),
        "tls": tls[0],
    }
    error = failure(Gateway(address.format(**known), key, plaintext=plaintext))
    assert said in error.advice
    assert error.advice in str(error)


def test_a_program_is_told_every_broken_field_and_both_ids(dev, silent):
    gateway = Gateway(dev.address, "dev-key-payments", plaintext=True)
    error = failure(gateway, CreateVaultRequest(vault=VaultSpec()))
    assert "vault.name: " in str(error)
    assert "vault.billing: " in str(error)
    assert f"call {error.call_id}" in str(error)
    request = CreateVaultRequest(vault=VaultSpec(name="late"))
    late = failure(Gateway(silent, "k", plaintext=True), request, timeout=0.3)
    assert f"request_id {late.request_id}" in str(late)
    assert "with the same request_id" in late.advice
