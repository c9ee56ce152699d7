"""The connection to a Valkey or Redis: scripts and commands, each bounded by time.

The client library never repeats a command, because a repetition after a timeout could not be told
from a second call; who repeats is the caller, and each script bears it.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from gateway.state.address import parsed
from gateway.state.errors import StoreDown, WrongStore
from gateway.state.settings import StoreSettings
from gateway.state.timeouts import answer_of
from gateway.state.valkey_pool import FollowingPool
from gateway.state.valkey_primary import directory
from gateway.state.valkey_rules import explained, wrong_store
from gateway.state.valkey_tls import SharedTls
from gateway.state.valkey_wire import Scripts

_CONNECTIONS: Final = 32

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ValkeyLink:
    """One per store. `base`: with what every key begins."""

    def __init__(self, client: Redis, pool: FollowingPool, settings: StoreSettings) -> None:
        self.client = client
        self.certificates = pool.certificates()
        self.base = base_of(settings)
        self.timeout_s = settings.answer_timeout_s
        self._copies = settings.replica_copies
        self._copied = True
        self.epoch = ""
        """The life of the data that is known; see `Life.epoch`."""
        self.doubt = ""
        """Why the server must not be used, although it answers."""
        self._leave, self._confirm = pool.leave, pool.confirm
        self._follows = pool.follows
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

    async def run_copied(self, script: str, *arguments: str | bytes | float) -> Any:  # noqa: ANN401 - as above
        """As `run`, but raises StoreDown unless replicas have what it wrote: as many as the
        settings ask for, or all that are connected. A failover to one of them keeps it.
        """
        if not self._copies:
            return await self.run(script, *arguments)

        async def copied() -> Any:  # noqa: ANN401 - as above
            sha, text = self._scripts.sha(script), self._scripts.text(script)
            answers = await self._written("EVALSHA", sha, 1, self.base, *arguments)
            if isinstance(answers[0], NoScriptError):
                answers = await self._written("EVAL", text, 1, self.base, *arguments)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            written, copies, (_, _, connected) = answers
            if copies < min(self._copies, len(connected)):
                raise ResponseError("NOREPLICAS")
            if copies < self._copies:
                # Its replicas may have gone because another server has its place.
                await self._confirm()
            self._note_copies(enough=copies >= self._copies)
            return written

        return await self.ask(copied)

    async def _written(self, *command: Any) -> list[Any]:  # noqa: ANN401 - as the library
        """With how many copies there are, and of how many replicas; all on one connection, since
        what is waited for is what this one wrote, and all before it.
        """
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.execute_command(*command)
            # Twice where the script is not known, and then there is time left to say so.
            pipe.wait(self._copies, max(1, round(self.timeout_s * 250)))
            pipe.role()
            return await pipe.execute(raise_on_error=False)

    def _note_copies(self, *, enough: bool) -> None:
        if enough is self._copied:
            return
        self._copied = enough
        if enough:
            log.info("replicas of the shared store have a copy of each change again")
        else:
            log.warning(
                "the shared store has too few replicas: a failover may forget changes",
                copies=self._copies,
            )

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as the library
        if self.doubt:
            raise WrongStore(self.doubt)
        return await self.ask_doubted(question)

    async def ask_doubted(self, question: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - as the library
        """As `ask`, of a server of which it is to be found out whether it may be used."""
        try:
            return await answer_of(question(), self.timeout_s)
        except (RedisError, OSError, TimeoutError) as error:
            self._leave()
            wrong = wrong_store(error, follows=self._follows)
            raise (WrongStore if wrong else StoreDown)(explained(error)) from error


def base_of(settings: StoreSettings) -> str:
    """With what every key begins. Its braces keep all keys in one slot of a cluster."""
    return f"{{{settings.prefix}}}"


@contextlib.asynccontextmanager
async def connected(settings: StoreSettings) -> AsyncIterator[ValkeyLink]:
    assert settings.url is not None
    address, tls = parsed(settings.url.reveal()), SharedTls()
    pool = FollowingPool.from_url(
        address.primary.reveal(),
        tls=tls,
        directory=directory(address, base_of(settings), settings.answer_timeout_s / 2, tls),
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
            await answer_of(pool.aclose(), settings.answer_timeout_s)
