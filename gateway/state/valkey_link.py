"""The connection to a Valkey or Redis: scripts and commands, each bounded by time.

The client library never repeats a command, because a repetition after a timeout could not be told
from a second call; who repeats is the caller, and each script bears it.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from gateway.state.errors import StoreDown, WrongStore
from gateway.state.settings import StoreSettings
from gateway.state.timeouts import answer_of
from gateway.state.valkey_pool import FollowingPool
from gateway.state.valkey_rules import explained, wrong_store
from gateway.state.valkey_wire import Scripts

_CONNECTIONS: Final = 32


class ValkeyLink:
    """One per store. `base`: with what every key begins."""

    def __init__(self, client: Redis, pool: FollowingPool, settings: StoreSettings) -> None:
        self.client = client
        self.certificates = pool.certificates()
        self.base = f"{{{settings.prefix}}}"
        self.timeout_s = settings.answer_timeout_s
        self.epoch = ""
        """The life of the data that is known; see `Life.epoch`."""
        self._leave = pool.leave
        self._scripts = Scripts()

    def at(self, name: str) -> str:
        """The whole key."""
        return f"{self.base}:{name}"

    async def hash(self, name: str) -> Mapping[str, bytes]:
        known: dict[bytes, bytes] = await self.ask(lambda: self.client.hgetall(self.at(name)))
        return {key.decode(): value for key, value in known.items()}

    async def read_hashes(self, names: Sequence[str], fields: Sequence[str]) -> list[list[Any]]:
        async with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(self.at(name), list(fields))
            rows: list[list[Any]] = await self.ask(pipe.execute)
            return rows

    async def run(self, script: str, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - each script has its own answer
        """Runs `lua/<script>.lua`.

        The server learns a script when it does not know it, which had no effect yet.
        """

        async def evaluate() -> Any:  # noqa: ANN401 - as above
            try:
                return await self.client.evalsha(
                    self._scripts.sha(script), 1, self.base, *arguments
                )
            except NoScriptError:
                return await self.client.eval(self._scripts.text(script), 1, self.base, *arguments)

        return await self.ask(evaluate)

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as the library
        try:
            return await answer_of(question(), self.timeout_s)
        except (RedisError, OSError, TimeoutError) as error:
            self._leave()
            raise (WrongStore if wrong_store(error) else StoreDown)(explained(error)) from error


@contextlib.asynccontextmanager
async def connected(settings: StoreSettings) -> AsyncIterator[ValkeyLink]:
    assert settings.url is not None
    pool = FollowingPool.from_url(
        settings.url.reveal(),
        max_connections=_CONNECTIONS,
        # Each question is bounded as a whole, by us.
        timeout=None,
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=None,
        protocol=2,
    )
    try:
        yield ValkeyLink(Redis(connection_pool=pool), pool, settings)
    finally:
        with contextlib.suppress(TimeoutError):
            await answer_of(pool.disconnect(), settings.answer_timeout_s)
