"""Those who know where the primary is: asked at once, and left without a trace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.secret import Secret
from gateway.state.address import StoreAddress, Through
from gateway.state.valkey_primary import directory
from gateway.state.valkey_tls import SharedTls
from tests.functional.calls import until

ANSWER = {
    "name": "set",
    "ip": "127.0.0.1",
    "port": "6379",
    "flags": "master",
    "config-epoch": "1",
    "num-slaves": "2",
    "quorum": "2",
}


class Sentinel:
    """Answers after some steps of the event loop. `open`: how many connections it has."""

    def __init__(self) -> None:
        self.late_by = 0
        self.open = self.had = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Secret]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield Secret(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.had += 1
        try:
            while words := await _command(reader):
                if words[0] != b"SENTINEL":
                    writer.write(b"+OK\r\n")
                    continue
                for _ in range(self.late_by):
                    await asyncio.sleep(0)
                flat = [word for pair in ANSWER.items() for word in pair]
                parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in flat)
                writer.write(f"*{len(flat)}\r\n{parts}".encode())
        finally:
            self.open -= 1
            writer.close()


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    count = (await reader.readline())[1:]
    words = []
    for _ in range(int(count or 0)):
        await reader.readline()
        words.append((await reader.readline()).strip())
    return words


async def test_who_answers_while_it_is_left_keeps_no_connection() -> None:
    """The late one is left in the midst of asking, of reading, of closing, and of nothing."""
    sentinels = [Sentinel() for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(each.serving()) for each in sentinels]
        address = StoreAddress(urls[0], Through.SENTINELS, tuple(urls), "set")
        found = directory(address, "key", 30, SharedTls())
        assert found is not None
        for late_by in range(24):
            sentinels[2].late_by = late_by
            for _ in range(4):
                assert await found.primary() == ("127.0.0.1", 6379)
        await until(lambda: not any(each.open for each in sentinels))
        assert all(each.had for each in sentinels)
