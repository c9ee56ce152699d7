"""A Valkey behind TLS that wants certificates of its clients, which are renewed while the store is
open. The wheel's server has no TLS of its own, so something else ends it.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator

import pytest

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import Store, StoreDown, StoreSettings, open_store
from testkit.identities import Pair, authority, certificate, dns
from testkit.ports import free_port
from tests.state.valkey_server import ValkeyProcess, running_valkey

CLIENT = {"ssl_certfile": "client.crt", "ssl_keyfile": "client.key", "ssl_ca_certs": "server.ca"}


def write(folder, name: str, pair: Pair, issuer: Pair) -> None:
    (folder / f"{name}.crt").write_bytes(pair.pem)
    (folder / f"{name}.key").write_bytes(pair.key_pem)
    (folder / f"{name}.ca").write_bytes(issuer.pem)


def write_all(folder) -> None:
    for name, host in (("server", "localhost"), ("client", "gateway")):
        issuer = authority(name)
        write(folder, name, certificate(issuer, dns(host)), issuer)


@contextlib.asynccontextmanager
async def tls_before(plain_port: int, port: int, folder) -> AsyncIterator[None]:
    """TLS at `port` by the files as they are now; connections are cut at the end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "client.ca")
    context.verify_mode = ssl.CERT_REQUIRED
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", plain_port)
        writers.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=context)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def test_new_certificates_count_from_the_next_connection_and_bad_ones_never(tmp_path):
    write_all(tmp_path)
    port = free_port()
    named = "&".join(f"{key}={tmp_path / file}" for key, file in CLIENT.items())
    url = Secret(f"rediss://localhost:{port}?{named}")
    told = []
    with running_valkey(tmp_path) as server:
        async with open_store(
            StoreSettings(kind="valkey", url=url), SystemClock(), told.append
        ) as store:
            (renewable,) = told
            assert {file.name for file in renewable.files} == set(CLIENT.values())
            async with tls_before(server.port, port, tmp_path):
                assert await store.life.epoch()
            write_all(tmp_path)
            async with tls_before(server.port, port, tmp_path):
                with pytest.raises(StoreDown):
                    await store.life.epoch()
                renewable.read()()
                assert await store.life.epoch()
                (tmp_path / "client.key").write_bytes(b"rubbish")
                with pytest.raises(OSError, match=r"\w"):
                    renewable.read()
                assert await store.life.epoch()


async def test_nodes_of_a_cluster_are_asked_and_used_behind_tls_by_the_names_that_they_tell(
    tmp_path, monkeypatch
):
    write_all(tmp_path)
    read_in, create = list[int](), ssl.create_default_context

    def reads() -> ssl.SSLContext:
        read_in.append(threading.get_ident())
        return create()

    monkeypatch.setattr(ssl, "create_default_context", reads)
    port = free_port()
    named = "&".join(f"{key}={tmp_path / file}" for key, file in CLIENT.items())
    url = Secret(f"valkeys+cluster://localhost:{port}?{named}")
    node = ValkeyProcess(tmp_path)
    try:
        node.start(
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *("--cluster-announce-port", str(port), "--cluster-announce-hostname", "localhost"),
            *("--cluster-preferred-endpoint-type", "hostname"),
        )
        assert node.command("CLUSTER ADDSLOTSRANGE 0 16383") == b"+OK\r\n"
        told = []
        settings = StoreSettings(kind="valkey", url=url, timeout_s=5)
        async with (
            tls_before(node.port, port, tmp_path),
            open_store(settings, SystemClock(), told.append) as store,
        ):
            assert {file.name for file in told[0].files} == set(CLIENT.values())
            async with asyncio.timeout(30):
                while not await _answers(store):  # noqa: ASYNC110 - nothing tells when
                    await asyncio.sleep(0.05)
            await asyncio.gather(*(store.life.epoch() for _ in range(10)))
            # Once, although nodes were asked and ten connections made; never where calls wait.
            assert len(read_in) == 1
            assert threading.get_ident() not in read_in
    finally:
        node.kill()


async def _answers(store: Store) -> bool:
    with contextlib.suppress(StoreDown):
        return bool(await store.life.epoch())
    return False
