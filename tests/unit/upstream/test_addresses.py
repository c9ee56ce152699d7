"""Hosts with several addresses, and names that cannot be looked up."""

import asyncio
import socket

import pytest

from gateway.connect_failure import ConnectFailure
from gateway.upstream.http import HttpRequest, NotSent, TransportSettings
from gateway.upstream.transport import open_transport
from tests.unit.upstream.raw_server import answer


@pytest.fixture(params=["httpx", "httptools"])
async def transport(request):
    opened = open_transport(TransportSettings(transport=request.param))
    yield opened
    await opened.aclose()


@pytest.fixture
def resolve(monkeypatch):
    """Names are looked up as a test says; addresses are what they are."""
    real = socket.getaddrinfo

    def begin(look_up):
        def resolved(host, port, *rest, **more):
            return (
                look_up(port)
                if host in {"cbr.invalid", b"cbr.invalid"}
                else real(host, port, *rest, **more)
            )

        monkeypatch.setattr(socket, "getaddrinfo", resolved)

    return begin


def of(*addresses):
    return lambda port: [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
        for address in addresses
    ]


async def serve(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer(b"here"))
    await writer.drain()
    await reader.read()
    writer.close()


@pytest.mark.parametrize("first", ["refuses", "drops"])
async def test_the_next_address_is_tried_where_the_first_one_does_not_answer(
    transport, resolve, first
):
    with socket.socket() as taken, socket.socket() as waiting, socket.socket() as more:
        taken.bind(("127.0.0.2", 0))
        port = taken.getsockname()[1]
        if first == "drops":
            taken.listen(0)
            for each in (waiting, more):
                each.settimeout(0)
                each.connect_ex(taken.getsockname())
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        resolve(of("127.0.0.2", "127.0.0.1"))
        response = await transport.send(HttpRequest("GET", f"http://cbr.invalid:{port}/a", {}), 5)
        server.close()
    assert response.body == b"here"


async def test_a_name_that_cannot_be_one_is_told_as_such(transport):
    with pytest.raises(NotSent) as caught:
        await transport.send(HttpRequest("GET", "http://cbr..invalid/a", {}), 5)
    assert caught.value.connect is ConnectFailure.NAME
