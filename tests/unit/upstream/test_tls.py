"""TLS, for both transports, and proxies, with certificates made on the spot."""

import asyncio
import ssl

import pytest

from gateway.upstream.http import HttpRequest, NotSent, TransportSettings, tls_context
from gateway.upstream.transport import open_transport
from testkit.identities import authority, dns
from testkit.identities import certificate as certificate_of
from tests.unit.upstream.raw_server import (
    all_closed,
    always,
    answer,
    cancelled_everywhere,
    raw_server,
)

TARGET = "/v3/a%2Fb/../c?d=%7e"


@pytest.fixture(params=["httpx", "httptools"])
def library(request):
    return request.param


def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def issued(folder, name):
    """A server's files, and that of the authority which has issued its certificate."""
    issuer = authority(name)
    pair = certificate_of(issuer, dns("localhost"))
    server, trusted = folder / f"{name}.pem", folder / f"{name}.ca.pem"
    server.write_bytes(pair.key_pem + pair.pem)
    trusted.write_bytes(issuer.pem)
    return server, trusted


def get(server):
    return HttpRequest("GET", f"https://localhost:{server.port}/a", {})


async def send(library, url, **settings):
    opened = open_transport(TransportSettings(transport=library, **settings))
    try:
        return await opened.send(HttpRequest("GET", url, {}), 2)
    finally:
        await opened.aclose()


async def test_a_trusted_certificate_with_the_right_name(library, certificate):
    async with raw_server(always(answer()), tls=server_tls(certificate)) as server:
        response = await send(
            library, f"https://localhost:{server.port}{TARGET}", ca_file=certificate
        )
    assert response.status == 200
    assert server.requests[0].startswith(f"GET {TARGET} HTTP/1.1\r\n".encode())


async def test_an_unknown_issuer_and_another_name_are_not_sent(library, certificate):
    async with raw_server(always(answer()), tls=server_tls(certificate)) as server:
        with pytest.raises(NotSent):
            await send(library, f"https://localhost:{server.port}/a")
        with pytest.raises(NotSent):
            await send(library, f"https://127.0.0.1:{server.port}/a", ca_file=certificate)
    assert server.requests == []


async def test_other_authorities_count_for_new_connections_and_open_ones_go_on(library, tmp_path):
    (old, trust_old), (new, trust_new) = (issued(tmp_path, name) for name in ("old", "new"))
    opened = open_transport(TransportSettings(transport=library, ca_file=trust_old))
    over = asyncio.Event()

    async def late(connection):
        await connection.request()
        await over.wait()
        await connection.send(answer())

    async with (
        raw_server(late, tls=server_tls(old)) as before,
        raw_server(always(answer()), tls=server_tls(new)) as after,
    ):
        asked = asyncio.create_task(opened.send(get(before), 30))
        await before.arrived.wait()
        with pytest.raises(NotSent):
            await opened.send(get(after), 5)
        opened.trust(tls_context(trust_new))
        assert (await opened.send(get(after), 5)).status == 200
        over.set()
        assert (await asked).status == 200
        await opened.aclose()


async def test_the_proxy_tunnels_tls_and_the_target_stays_as_given(certificate):
    async with raw_server(always(answer()), tls=server_tls(certificate)) as server:

        async def tunnel(connection):
            await connection.request()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                await asyncio.gather(
                    pump(connection.reader, writer), pump(reader, connection.writer)
                )
            finally:
                writer.close()
                await writer.wait_closed()

        async with raw_server(tunnel) as proxy:
            url = f"https://localhost:{server.port}{TARGET}"
            response = await send("httpx", url, ca_file=certificate, proxy=proxy.origin)
    assert response.status == 200
    assert proxy.requests[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert server.requests[0].startswith(f"GET {TARGET} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("refusal", [b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b""])
async def test_a_proxy_that_refuses_the_tunnel_means_not_sent(refusal):
    async def refuse(connection):
        await connection.request()
        await connection.send(refusal)

    async with raw_server(refuse) as proxy:
        with pytest.raises(NotSent):
            await send("httpx", "https://cbr.invalid/a", proxy=proxy.origin)


async def test_cancelled_at_any_moment_a_call_over_tls_leaves_nothing_open(library, certificate):
    opened = open_transport(
        TransportSettings(transport=library, ca_file=certificate, max_connections=2)
    )
    async with raw_server(always(answer()), tls=server_tls(certificate)) as server:
        url = f"https://localhost:{server.port}/a"
        await cancelled_everywhere(lambda: opened.send(HttpRequest("GET", url, {}), 5))
        answers = await asyncio.gather(
            *(opened.send(HttpRequest("GET", url, {}), 5) for _ in range(4))
        )
        assert [each.status for each in answers] == [200] * 4
        await opened.aclose()
        await all_closed(server)


async def pump(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
