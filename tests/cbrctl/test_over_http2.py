"""The light way of reads: what it loads, what is an answer to it, and what it leaves to gRPC."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cbrgateway.v1 import vault_pb2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from h2.exceptions import ProtocolError

from cbrctl.contexts import Context
from cbrctl.failures import Refusal
from cbrctl.http2 import Connection
from cbrctl.over_http2 import OverHttp2, can_reach
from testkit.identities import authority, certificate, dns
from tests.cbrctl.conftest import BILLING, PROGRAM

LIST = "VaultService/ListVaults"
HEAVY = ("grpc", "asyncio", "ssl", "cbrgateway_client", "rich", "yaml", "jmespath")


def loaded(environ, arguments, modules, **more):
    """Those of the modules that a command loads."""
    code = (
        "import sys\nfrom cbrctl.main import main\n"
        f"try: main({arguments!r}, prog_name='cbrctl')\nexcept SystemExit: pass\n"
        f"print(sorted({set(modules)!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environ | more,
    )
    return done.stdout, json.loads(done.stderr.splitlines()[-1].replace("'", '"'))


def test_a_read_loads_nothing_heavy_and_a_change_does(environ):
    shown, modules = loaded(environ, ["vaults", "list"], HEAVY)
    assert shown.startswith("ID ")
    assert modules == []
    refused = ["vaults", "delete", "0" * 32, "--yes", "--dry-run"]
    assert "grpc" in loaded(environ, refused, HEAVY)[1]


@pytest.fixture
def completes(environ, tmp_path):
    """What a Tab offers, and which modules it loads."""
    ours = environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "_CBRCTL_COMPLETE": "bash_complete",
    }

    def run(*words):
        more = {"COMP_WORDS": " ".join(("cbrctl", *words)), "COMP_CWORD": str(len(words))}
        return loaded(ours, [], {"h2", "google", "grpc", "socket"}, **more)

    return run


def test_the_second_tab_asks_nobody_and_a_change_is_seen_by_the_next(
    completes, process, environ, ok, tmp_path
):
    made = ok("vaults", "create", "--name", "tabbed", *BILLING, "-o", "name").strip()
    more = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first, asked = completes("vaults", "get", made[:6])
    assert (f"plain,{made}\n" in first, "h2" in asked, "grpc" in asked) == (True, True, False)
    second, asked = completes("vaults", "get", "tab")
    assert ("plain,tabbed\n" in second, asked) == (True, [])
    for file in (tmp_path / "cache" / "cbrctl").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0
    ended = process("vaults", "delete", made, "--yes", "--force", "--wait", env=environ | more)
    assert ended.returncode == 0, ended.stderr
    assert made not in completes("vaults", "get", made[:6])[0]


@pytest.mark.parametrize("content", ["", "[", "1", "[[1]]", '{"a": 1}', "\udcff"])
def test_what_is_remembered_and_cannot_be_read_is_asked_for_again(completes, ok, tmp_path, content):
    made = ok("vaults", "create", "--name", "odd", *BILLING, "-o", "name").strip()
    completes("vaults", "get", made[:6])
    (file,) = (tmp_path / "cache" / "cbrctl").glob("*/vaults")
    file.write_text(content, "utf-8", "surrogateescape")
    assert made in completes("vaults", "get", made[:6])[0]
    ok("vaults", "delete", made, "--force", "--yes", "--wait")


@pytest.mark.parametrize(
    ("context", "light"),
    [
        (Context(plaintext=True), True),
        (Context(plaintext=True, address="[::1]:50051"), True),
        (Context(plaintext=True, address="dns:///gateway:50051"), False),
        (Context(plaintext=True, address="unix:/run/gateway"), False),
        (Context(plaintext=True, address="gateway"), False),
        (Context(plaintext=True, project="a\nb"), False),
        (Context(plaintext=True, project="ä"), False),
        (Context(), False),
        (Context(ca_file="ca.pem"), True),
    ],
)
def test_what_grpc_would_do_otherwise_is_left_to_grpc(monkeypatch, context, light):
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert can_reach(context) is light
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert not can_reach(context)


def answer(text=b""):
    return b"\0" + len(text).to_bytes(4, "big") + text


WELL = answer(b"well")


def ended(h2, stream, *trailers, body=WELL):
    h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    h2.send_data(stream, body)
    h2.send_headers(stream, [*trailers], end_stream=True)


OK = ("grpc-status", "0")
ANSWERS = {
    "an answer": (lambda h2, stream: ended(h2, stream, OK), b"well"),
    "an empty one": (lambda h2, stream: ended(h2, stream, OK, body=answer()), b""),
    "an error": (lambda h2, stream: ended(h2, stream, ("grpc-status", "14")), None),
    "an error without an answer": (
        lambda h2, stream: h2.send_headers(
            stream, [(":status", "200"), ("grpc-status", "5")], end_stream=True
        ),
        None,
    ),
    "no status": (lambda h2, stream: ended(h2, stream, ("x", "y")), None),
    "half an answer": (lambda h2, stream: ended(h2, stream, OK, body=WELL[:-1]), None),
    "no answer": (lambda h2, stream: ended(h2, stream, OK, body=b""), None),
    "two answers": (lambda h2, stream: ended(h2, stream, OK, body=answer(b"a") * 2), None),
    "a compressed one": (lambda h2, stream: ended(h2, stream, OK, body=b"\1\0\0\0\0"), None),
    "a reset": (lambda h2, stream: h2.reset_stream(stream), None),
    "an end of the connection": (lambda h2, _: h2.close_connection(), None),
    "a cut": (None, None),
}


@contextlib.contextmanager
def serving(respond):
    """A server of HTTP/2 that answers one call so."""

    def serve():
        connection, _ = listening.accept()
        # The caller may still say something when the connection has ended.
        with connection, contextlib.suppress(ProtocolError):
            h2 = H2Connection(H2Configuration(client_side=False))
            h2.initiate_connection()
            connection.sendall(h2.data_to_send())
            while data := connection.recv(65536):
                for event in h2.receive_data(data):
                    if isinstance(event, StreamEnded):
                        if respond is None:
                            return
                        respond(h2, event.stream_id)
                connection.sendall(h2.data_to_send())

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join(60)


@pytest.mark.parametrize(("respond", "wanted"), ANSWERS.values(), ids=[*ANSWERS])
def test_only_a_whole_answer_is_one(respond, wanted):
    with serving(respond) as address:
        end = time.monotonic() + 60
        connection = Connection(Context(address=address, plaintext=True), end)
        assert connection.call("/a/b", [], b"", end) == wanted
        connection.close()


class Vaults(grpc.GenericRpcHandler):
    """Answers lists of vaults; refuses the first calls."""

    def __init__(self, refusals=0):
        self.refusals, self.seen = refusals, []

    def service(self, handler_call_details):
        return grpc.unary_unary_rpc_method_handler(
            self._list, vault_pb2.ListVaultsRequest.FromString, lambda answer: answer
        )

    def _list(self, request, call):
        self.seen.append((dict(call.invocation_metadata()), call.auth_context()))
        if len(self.seen) <= self.refusals:
            call.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        answer = vault_pb2.ListVaultsResponse()
        answer.vaults.add(id="a", description="x" * 500_000)
        return answer.SerializeToString()


@pytest.fixture
def gateway(tmp_path):
    """Starts a server with TLS that wants certificates of callers; its context."""
    ours = authority("ours")
    server, caller = certificate(ours, dns("localhost")), certificate(ours, dns("caller"))
    for name, content in (("ca", ours.pem), ("crt", caller.pem), ("key", caller.key_pem)):
        (tmp_path / name).write_bytes(content)
    serving = grpc.server(ThreadPoolExecutor(2))
    pair = [(server.key_pem, server.pem)]
    credentials = grpc.ssl_server_credentials(pair, ours.pem, require_client_auth=True)
    port = serving.add_secure_port("127.0.0.1:0", credentials)

    def start(vaults):
        serving.add_generic_rpc_handlers((vaults,))
        serving.start()
        return Context(
            address=f"localhost:{port}",
            project="p",
            ca_file=tmp_path / "ca",
            certificate_file=tmp_path / "crt",
            key_file=tmp_path / "key",
        )

    yield start
    serving.stop(None)


def test_large_answers_come_over_one_connection_with_certificates(gateway, monkeypatch):
    monkeypatch.setenv("CBR_API_KEY", "the-key")
    vaults = Vaults()
    transport = OverHttp2(gateway(vaults), None)
    for _ in range(3):
        assert len(transport.call(LIST, {})["vaults"][0]["description"]) == 500_000
    transport.close()
    peers = {metadata["user-agent"] for metadata, _ in vaults.seen}
    assert peers == {"cbrctl"}
    metadata, known = vaults.seen[0]
    assert metadata["authorization"] == "Bearer the-key"
    assert metadata["x-cbr-project-id"] == "p"
    assert known["transport_security_type"] == [b"ssl"]


def test_what_is_no_answer_is_asked_for_again_over_grpc(gateway):
    vaults = Vaults(refusals=1)
    transport = OverHttp2(gateway(vaults), None)
    for _ in range(2):
        assert transport.call(LIST, {})["vaults"]
    transport.close()
    agents = [metadata["user-agent"] == "cbrctl" for metadata, _ in vaults.seen]
    assert agents == [True, False, False]


@pytest.fixture
def silent():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_deadline_ends_a_read_and_grpc_is_not_asked_for_more(silent):
    transport = OverHttp2(Context(address=silent, plaintext=True), 0.2)
    with pytest.raises(Refusal, match="Deadline Exceeded") as failed:
        transport.call(LIST, {})
    assert "--deadline SECONDS" in failed.value.advice
    assert transport._grpc is None
    transport.close()


def test_an_interrupt_ends_a_read_at_once(environ):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        process = subprocess.Popen(
            [PROGRAM, "vaults", "list", "--address", address, "--deadline", "3600"],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = listening.accept()
        # The caller may still say something when the connection has ended.
        with connection, contextlib.suppress(ProtocolError):
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "Interrupted.")
