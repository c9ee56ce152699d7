"""A name server that does not answer holds up nothing but who needs its answer."""

import asyncio
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.connect_failure import ConnectFailure
from gateway.loops import loop_factory
from gateway.upstream.http import HttpRequest, NotSent, TransportSettings
from gateway.upstream.transport import open_transport

NAMES = 40
"""More than the threads that a loop has for names."""


class NameServer:
    """Never answers for names that begin with `hangs`, until it is told to."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answers = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str, *rest: Any, **more: Any) -> Any:
        self.asked[str(host)] += 1
        if str(host).startswith("hangs"):
            self.answers.wait(120)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real(host, *rest, **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.answers.set()


@pytest.fixture(params=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> asyncio.Runner:
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    return asyncio.Runner(loop_factory=loop_factory())


async def connected(name: str) -> bytes:
    """What a server on this machine sends to who connects to that name."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(name, server.sockets[0].getsockname()[1])
        said = await reader.read()
        writer.close()
        return said


def test_other_names_are_looked_up_meanwhile_and_the_end_comes(
    runner: asyncio.Runner, names: NameServer
) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        for number in range(NAMES):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await loop.getaddrinfo(f"hangs-{number}", 80)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.open_connection(f"hangs-{number}.too", 80)
        async with asyncio.timeout(60):
            assert await loop.getaddrinfo("localhost", 80)
            assert await connected("localhost") == b"hello"

    with runner:
        runner.run(work())
    # Those are still asked.
    assert not names.answers.is_set()
    assert names.asked.keys() >= {f"hangs-{number}" for number in range(NAMES)}


def test_one_question_serves_all_who_ask_it(runner: asyncio.Runner, names: NameServer) -> None:
    """Each takes a thread."""

    async def work() -> None:
        transport = open_transport(TransportSettings(transport="httptools"))
        calls = [
            transport.send(HttpRequest("GET", "http://hangs.invalid/a", {}), 5, connect_s=0.2)
            for _ in range(20)
        ]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert {(type(end), getattr(end, "connect", None)) for end in ends} == {
            (NotSent, ConnectFailure.SILENT)
        }
        await transport.aclose()
        asking = [
            asyncio.create_task(asyncio.get_running_loop().getaddrinfo("hangs-on", 80))
            for _ in range(20)
        ]
        await asyncio.sleep(0)
        names.answers.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(answer) for answer in answers} == {socket.gaierror}

    with runner:
        runner.run(work())
    assert names.asked == {"hangs.invalid": 1, "hangs-on": 1}


def test_each_address_of_a_name_is_tried(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def several(host: str, port: int, *_: object, **__: object) -> object:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in (("127.0.0.9", "127.0.0.1") if host == "many.invalid" else ())
        ]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    with runner:
        assert runner.run(connected("many.invalid")) == b"hello"
        with pytest.raises(OSError, match="empty list"):
            runner.run(connected("none.invalid"))
