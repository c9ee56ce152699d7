"""The mistakes that everybody makes once: each says what to do next, at a terminal and to a
program.
"""

import json
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cbrgateway.v1.vault_pb2 import CreateVaultRequest, ListVaultsRequest, VaultSpec
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from cbrgateway_client import CallError, Gateway

from cbrctl.address import checked
from clients.frame.languages import CLIENTS
from testkit.identities import authority, certificate, dns
from testkit.ports import free_port
from tests.cbrctl.conftest import BILLING

LIST = ("vaults", "list")
ID = "00000000-0000-0000-0000-000000000000"
WITH_TLS = (*LIST, "--tls")
CREATE = ("vaults", "create", "--name", "mistake")


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Address of a gRPC server with TLS, and the file of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("tls")
    ours = authority("ours")
    server = certificate(ours, dns("localhost"))
    (folder / "ca.pem").write_bytes(ours.pem)
    (folder / "key.pem").write_bytes(server.key_pem)
    (folder / "none.pem").write_text("nothing")
    (folder / "tab.yaml").write_text("vault:\n\tname: a\n")
    (folder / "cut.pem").write_bytes(ours.pem.replace(b"MII", b"M!!"))
    (folder / "locked.pem").write_bytes(server.key_pem.replace(b" PRIVATE", b" ENCRYPTED PRIVATE"))
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


RAW = ("Traceback", "SSL", "ipv4:", "errors resolving", "last error", "Method not found")
"""Words of libraries."""


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
    "no port": case((*LIST, "--address", "localhost"), 2, "Say localhost:50051"),
    "a port of letters": case((*LIST, "--address", "localhost:x"), 2, "Say localhost:50051"),
    "no such port": case((*LIST, "--address", "localhost:99999"), 2, "no port from 1 to 65535"),
    "port 0": case((*LIST, "--address", "localhost:0"), 2, "no port from 1 to 65535"),
    "no host": case((*LIST, "--address", ":50051"), 2, "has no host", "HOST:PORT"),
    "a blank in the host": case((*LIST, "--address", "a b:1"), 2, "has no host of letters"),
    "a URL": case((*LIST, "--address", "http://{health}"), 2, "Say --address {health} --plaintext"),
    "a URL with TLS": case(
        (*LIST, "--address", "https://a.example/x"), 2, "Say --address a.example:50051 --tls"
    ),
    "a URL of the environment": case(LIST, 2, "is a URL", CBR_ADDRESS="grpc://a.example:1"),
    "a URL in a context": case(("config", "set", "x", "--address", "http://a:1"), 2, "is a URL"),
    "IPv6 alone": case((*LIST, "--address", "::1"), 2, "without brackets", "[::1]:50051"),
    "IPv6 and a port": case((*LIST, "--address", "::1:50051"), 2, "without brackets"),
    "IPv6 without a port": case((*LIST, "--address", "[::1]"), 2, "Say [::1]:50051"),
    "a key for authorities": case(
        (*WITH_TLS, "--ca-file", "{key}"), 2, "--ca-file {key} holds a private key", "authorities"
    ),
    "no PEM for authorities": case(
        (*WITH_TLS, "--ca-file", "{none}"), 2, "--ca-file {none} holds no certificate in PEM"
    ),
    "a broken authority": case((*WITH_TLS, "--ca-file", "{cut}"), 2, "cannot be read. Copy it"),
    "no file": case((*WITH_TLS, "--ca-file", "/nowhere"), 2, "--ca-file /nowhere cannot be read"),
    "no private key": case(
        (*WITH_TLS, "--certificate-file", "{ca}"), 2, "is given without --key-file: name both"
    ),
    "no certificate": case(
        (*WITH_TLS, "--key-file", "{key}"), 2, "is given without --certificate-file"
    ),
    "a certificate for a key": case(
        (*WITH_TLS, "--certificate-file", "{ca}", "--key-file", "{ca}"), 2, "holds no private key"
    ),
    "a key for a certificate": case(
        (*WITH_TLS, "--certificate-file", "{key}", "--key-file", "{key}"), 2, "a private key, and"
    ),
    "another's key": case(
        (*WITH_TLS, "--certificate-file", "{ca}", "--key-file", "{key}"), 2, "belong together"
    ),
    "a locked key": case(
        (*WITH_TLS, "--certificate-file", "{ca}", "--key-file", "{locked}"), 2, "with a password"
    ),
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
    "a number that is too large": case(
        (*CREATE, *BILLING[:-2], "--size-gib", "99999999999"),
        2,
        "The request cannot be sent: vault.billing.size_gib: Value out of range: 99999999999",
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
    "unknown command": case(
        ("vaults", "lst"), 2, "No such command 'lst'", "Do you mean list", "--help"
    ),
    "one object": case(("vault", "list"), 2, "Do you mean vaults"),
    "words the other way round": case(("list", "vaults"), 2, "Do you mean cbrctl vaults list?"),
    "a short way without its verb": case(("backup", "first"), 2, "There is: now."),
    "a report that there is not": case(("report", "costs"), 2, "There is: expiring, protection"),
    "a verb of no context": case(("config", "add"), 2, "There is: delete, list, set, use."),
    "a header for a key": case(LIST, 2, "begins with 'Bearer'. Leave", CBR_API_KEY="Bearer k"),
    "neither yes nor no": case(LIST, 2, "Set it to 1 for plain text", CBR_PLAINTEXT="maybe"),
    "no query": case((*LIST, "--query", "a b"), 2, "is no JMESPath", "https://jmespath.org"),
    "no file of a request": case(("vaults", "create", "-f", "/"), 2, "Name a file with -f"),
    "no text": case(("vaults", "create", "-f", sys.executable), 2, "is no text in UTF-8"),
    "no YAML": case(("vaults", "create", "-f", "{tab}"), 2, "is not YAML, line 2, column 1:"),
    "a pair that is no tag": case(
        (*CREATE, *BILLING, "--tags", "env=test"), 2, "no such field; there is: key, value"
    ),
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
        **{each.stem: str(each) for each in tls[1].parent.iterdir()},
        "silent": silent,
    }
    ended = ctl(*(each.format(**known) for each in arguments))
    assert (ended.exit_code, ended.stdout) == (code, ""), ended.output
    assert not [each for each in said if each.format(**known) not in ended.stderr], ended.stderr
    assert not [each for each in RAW if each in ended.stderr], ended.stderr


@pytest.mark.parametrize(
    ("flag", "value", "hint"),
    [
        ("--filter", "nme:a", "did you mean `name`?"),
        ("--filter", "name:a AND statsu = x", "there is no field `statsu`"),
        ("--order-by", "nme", "did you mean `name`?"),
        ("--read-mask", "nme", "Known: id, name, "),
    ],
)
def test_a_field_of_rows_is_no_flag_and_told_once(ctl, flag, value, hint):
    ended = ctl(*LIST, flag, value)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.count(hint) == ended.stderr.count(f"({flag})") == 1, ended.stderr
    assert "--name" not in ended.stderr
    assert "--status" not in ended.stderr


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


@pytest.mark.parametrize(
    "case",
    json.loads((CLIENTS / "addresses.json").read_text("utf-8")),
    ids=lambda case: case["says"],
)
def test_an_address_is_taken_or_refused_by_the_client_and_at_a_terminal(case):
    address, says = case["address"], case["says"]
    if not says:
        assert checked(Gateway(address).address) == address
        return
    with pytest.raises(ValueError, match=re.escape(f"The address {address!r} {says}") + "$"):
        Gateway(address)
    with pytest.raises(ValueError, match=re.escape(f"The address {address!r} ")):
        checked(address)


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
