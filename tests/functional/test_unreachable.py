"""A host that cannot be reached is told within the connect timeout, with the cause; CBR's as well
as IAM's. Nothing but 127.0.0.1 is called.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from emulator import settings as emulated
from gateway.app import open_app
from gateway.upstream.settings import PasswordSettings
from tests.functional import stage
from tests.functional.calls import Caller, Failure, failure_of
from tests.harness import World, config_for
from tests.unit.upstream.raw_server import raw_server

LIST, CREATE = "VaultService/ListVaults", "VaultService/CreateVault"
CONNECT_S = 0.5
PATIENT_S = 60.0
"""Where something else than time ends the attempt, so that a busy machine changes nothing."""
SOON_S = 4.5
"""Far more than the connect timeout, for machines that are busy; less than an attempt without that
timeout takes.
"""


@contextlib.contextmanager
def full_backlog() -> Iterator[str]:
    """An address that drops each attempt to connect, like a firewall."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextlib.asynccontextmanager
async def never_answers() -> AsyncIterator[str]:
    """An address that accepts connections and is silent."""

    async def silent(connection: Any) -> None:
        await connection.until_closed()

    async with raw_server(silent) as server:
        yield f"127.0.0.1:{server.port}"


@contextlib.asynccontextmanager
async def plain() -> AsyncIterator[str]:
    """It waits for the client to close: a server that closes first may reset the connection, and
    the client then never sees the answer.
    """

    async def refuses(connection: Any) -> None:
        await connection.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await connection.until_closed()

    async with raw_server(refuses) as server:
        yield f"127.0.0.1:{server.port}"


@contextlib.asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{closed.getsockname()[1]}"


@contextlib.asynccontextmanager
async def dropping() -> AsyncIterator[str]:
    with full_backlog() as address:
        yield address


@contextlib.asynccontextmanager
async def nameless() -> AsyncIterator[str]:
    yield "cbr.invalid"


WAYS = {
    "SYN dropped": (dropping, "no connection came about in time", CONNECT_S),
    "accepts, never answers TLS": (never_answers, "no connection came about in time", CONNECT_S),
    "plain HTTP where TLS is expected": (plain, "it does not speak TLS on this port", PATIENT_S),
    "nobody listens": (nobody, "it refuses connections", PATIENT_S),
    "no such name": (nameless, "its name cannot be resolved", PATIENT_S),
}


@pytest.fixture(params=["httptools", "httpx"])
def library(request):
    return request.param


@pytest.fixture(params=list(WAYS))
def way(request):
    return WAYS[request.param]


@pytest.fixture(autouse=True)
def _no_name_server(monkeypatch):
    """Names are looked up on this machine only, and `.invalid` never exists."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        if host in {"cbr.invalid", b"cbr.invalid"}:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@contextlib.asynccontextmanager
async def gateway(
    library: str, cbr: str, iam: str | None = None, connect_s: float = CONNECT_S
) -> AsyncIterator[Caller]:
    """A caller of a gateway that is to reach CBR at `cbr`; with `iam` it signs in there, with a
    password.
    """
    config = config_for(cbr)
    transport = config.upstream.transport.model_copy(
        update={"transport": library, "connect_timeout_s": connect_s}
    )
    changed: dict[str, Any] = {"transport": transport}
    if iam is not None:
        data = {"kind": "password", "user": "u", "password": {"env": "PW"}, "domain": "d"}
        user = PasswordSettings.model_validate(
            data, context={"environ": {"PW": emulated.IAM_PASSWORD}}
        )
        changed["credentials"] = {**config.upstream.credentials, "main": user}
        changed["regions"] = {
            name: region.model_copy(update={"iam_endpoint": iam})
            for name, region in config.upstream.regions.items()
        }
    config = config.model_copy(update={"upstream": config.upstream.model_copy(update=changed)})
    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield Caller(channel, World.metadata())


async def soon(caller: Caller, rpc: str, fields: dict[str, Any]) -> Failure:
    async with asyncio.timeout(SOON_S):
        try:
            await caller.start(rpc, fields, 20)
        except grpc.aio.AioRpcError as error:
            return failure_of(error)
    raise AssertionError("the call succeeded")


async def test_cbr_is_told_to_be_unreachable_and_why(library, way):
    host, problem, connect_s = way
    async with (
        host() as address,
        gateway(library, f"https://{address}", connect_s=connect_s) as caller,
    ):
        read, change = (
            await soon(caller, LIST, {}),
            await soon(caller, CREATE, stage.vault_request()),
        )
    for failed in (read, change):
        assert (failed.code, failed.reason, failed.facts["sent"]) == (
            "UNAVAILABLE",
            "UPSTREAM_UNREACHABLE",
            "no",
        )
        assert problem in failed.message
        assert "nothing was sent" in failed.message
        assert address not in failed.message
        assert failed.details["RetryInfo"].retry_delay.ToMilliseconds() >= 1000


async def test_iam_is_told_to_be_unreachable_and_why(library, way):
    host, problem, connect_s = way
    async with (
        host() as address,
        gateway(library, "http://127.0.0.1:1", f"https://{address}", connect_s) as caller,
    ):
        failed = await soon(caller, LIST, {})
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "UPSTREAM_UNREACHABLE")
    assert f"IAM could not be reached ({problem})" in failed.message
    assert "attempts" not in failed.facts


async def test_the_operator_is_told_the_host_and_what_to_check(lines):
    async with plain() as address, gateway("httptools", f"https://{address}") as caller:
        await soon(caller, LIST, {})
    told = [line for line in lines() if line["event"] == "no answer of CBR"]
    assert address in told[0]["url"]
    assert "correct the scheme or the port" in told[0]["advice"]


async def test_the_operator_is_asked_for_the_scheme_where_a_host_only_breaks_connections(
    lines,
):
    async def tls_port(connection: Any) -> None:
        await connection.request()

    async with raw_server(tls_port) as server, gateway("httptools", server.origin) as caller:
        await soon(caller, LIST, {})
    assert {line["advice"] for line in lines() if line["event"] == "no answer of CBR"} == {
        (
            "if it is so for every call, check that the endpoint's scheme is what the port speaks:"
            " https:// for TLS"
        )
    }


@pytest.mark.parametrize(
    ("delay_s", "lookups"), [(0.0, 3), (0.75 * CONNECT_S, 1)], ids=["at once", "slowly"]
)
async def test_all_attempts_together_take_no_longer_than_the_connect_timeout(
    monkeypatch, library, delay_s, lookups
):
    """A name server that says no is asked again only while there is time."""
    asked = []

    def refuse(host: Any, *_: Any, **__: Any) -> Any:
        asked.append(host)
        time.sleep(delay_s)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async with gateway(library, "https://cbr.invalid") as caller:
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        failed = await soon(caller, LIST, {})
        monkeypatch.undo()
    assert len(asked) == lookups
    assert failed.facts["attempts"] == str(lookups)
    assert failed.reason == "UPSTREAM_UNREACHABLE"
