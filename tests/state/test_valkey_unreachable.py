"""A shared store that cannot be reached: `check --online` and the log name the setting and say what
to do, and show neither the address nor what is in it.
"""

import asyncio
import contextlib

import pytest

from gateway.secret import Secret
from gateway.state import StoreSettings
from gateway.state.valkey import problem_with
from testkit.ports import free_port
from tests.state.valkey_server import running_valkey


async def problem(address, *, scheme="valkey", rest="", timeout_s=2.0):
    url = Secret(f"{scheme}://user:canary@{address}{rest}")
    return await problem_with(StoreSettings(kind="valkey", url=url, timeout_s=timeout_s))


@contextlib.asynccontextmanager
async def answering(*parts):
    """The address of a server that says this to the first bytes and ends; nothing: is silent."""

    async def answer(reader, writer):
        with contextlib.closing(writer):
            await reader.read(1)
            for part in parts:
                writer.write(part)
            if not parts:
                await reader.read()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("address", "what", "do"),
    [
        ("127.0.0.1:{port}", "it refuses connections", "check host and port of state.url"),
        ("canary.invalid:1", "its name cannot be resolved", "check the host in state.url"),
    ],
)
async def test_a_server_that_is_not_there(address, what, do):
    told = await problem(address.format(port=free_port()))
    assert told.startswith(f"the shared store cannot be reached: {what}; {do}")


async def test_a_socket_that_is_not_there(tmp_path):
    url = Secret(f"unix://{tmp_path}/canary.sock")
    told = await problem_with(StoreSettings(kind="valkey", url=url))
    assert told.startswith("the shared store cannot be reached: its socket is not there")
    assert "canary" not in told


async def test_a_server_that_is_silent():
    async with answering() as address:
        told = await problem(address, timeout_s=0.4)
    assert "does not answer in time: check host and port of state.url" in told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the protocol of Valkey: check host"),
        (b"", "has closed the connection"),
    ],
)
async def test_a_server_that_is_no_valkey(said, told):
    async with answering(said) as address:
        assert told in (found := await problem(address))
    assert "state.url" in found
    assert "canary" not in found


async def test_tls_where_the_server_has_none(tmp_path):
    with running_valkey(tmp_path) as server:
        told = await problem(f"127.0.0.1:{server.port}", scheme="valkeys")
    assert "the port speaks what state.url says: TLS for valkeys://" in told


async def test_a_number_of_a_database_that_there_is_not(tmp_path):
    with running_valkey(tmp_path) as server:
        told = await problem_with(
            StoreSettings(kind="valkey", url=Secret(f"valkey://127.0.0.1:{server.port}/99"))
        )
    assert "no database of this number; correct the number in state.url" in told
