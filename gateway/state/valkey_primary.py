"""Finds the primary: by the sentinels that watch over it, or by the nodes of its cluster.

All are asked at once, so that one that hangs holds up nobody, and one that was cut off from the
others is outvoted.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from gateway.secret import Secret
from gateway.state.address import StoreAddress, Through
from gateway.state.timeouts import answer_of
from gateway.state.valkey_rules import NotFoundError, rule_of
from gateway.state.valkey_tls import SharedTls

Server: TypeAlias = tuple[str, int]

_ACCESS: Final = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and the number of the failover that it comes from, where they are numbered."""

    server: Server
    failover: int = 0


Question: TypeAlias = Callable[[Redis], Awaitable[Told]]


class _AskedPool(ConnectionPool):
    """Of one who is asked."""

    def __init__(self, *args: Any, tls: SharedTls, **kwargs: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(*args, **kwargs)
        self._tls = tls

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        await self._tls.give(connection)
        await super().ensure_connection(connection)


@dataclass(frozen=True, slots=True)
class Directory:
    """Knows who knows where the primary is. `access`: what to do where they refuse a user."""

    who: str
    asked: Sequence[Secret]
    question: Question
    access: str
    within_s: float
    tls: SharedTls

    async def primary(self) -> Server:
        """As most of those say who answer in time, or a later failover.

        Raises NotFoundError.
        """
        asked = [asyncio.create_task(self._ask(url)) for url in self.asked]
        try:
            with contextlib.suppress(TimeoutError):
                await answer_of(_most(asked), self.within_s)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        ended = [task for task in asked if not task.cancelled()]
        votes = Counter(task.result() for task in ended if task.exception() is None)
        if not votes:
            raise self._not_found([task.exception() for task in ended])
        return max(votes, key=lambda told: (told.failover, votes[told])).server

    async def _ask(self, url: Secret) -> Told:
        pool = _AskedPool.from_url(url.reveal(), tls=self.tls, retry=None, protocol=2)
        client = Redis(connection_pool=pool, single_connection_client=True)
        client.auto_close_connection_pool = True
        try:
            await client.initialize()
            return await self.question(client)
        finally:
            # Also of one that is left while it connects, which its own context would not close.
            await _to_its_end(client.aclose())

    def _not_found(self, errors: Sequence[BaseException | None]) -> NotFoundError:
        """With the error that says most."""
        for error in errors:
            if isinstance(error, NotFoundError):
                return error
            if error is not None and not isinstance(error, RedisError | OSError):
                raise error
        for error in errors:
            if isinstance(error, RedisError) and (found := rule_of(error)):
                answer, rule = found
                do = f"{rule.means}; {self.access}" if answer in _ACCESS else str(rule)
                return NotFoundError(f"the {self.who} of the shared store answer {answer}: {do}")
        return NotFoundError(
            f"none of the {self.who} of the shared store answers; if that lasts, look whether they"
            " run, and correct state.url"
        )


async def _to_its_end(closing: Coroutine[Any, Any, None]) -> None:
    """Also where its caller is cancelled meanwhile, as those are who close when most have told."""
    task = asyncio.create_task(closing)
    try:
        await asyncio.shield(task)
    finally:
        if not task.done():
            await asyncio.wait({task})


async def _most(asked: Sequence[asyncio.Task[Told]]) -> None:
    pending = set(asked)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in asked if task.done() and task.exception() is None]
        if len(good) > len(asked) // 2:
            return


def directory(address: StoreAddress, key: str, within_s: float, tls: SharedTls) -> Directory | None:
    """None where the address is the primary's own. `key`: one of those that are kept there."""
    match address.through:
        case Through.SENTINELS:
            return Directory(
                "sentinels",
                address.asked,
                _by_sentinel(address.name),
                "put sentinel_username and sentinel_password into state.url, of a user who may run"
                " SENTINEL MASTER",
                within_s,
                tls,
            )
        case Through.CLUSTER:
            return Directory(
                "nodes",
                address.asked,
                _by_node(key_slot(key.encode())),
                "put user and password into state.url, of a user who may run CLUSTER SLOTS",
                within_s,
                tls,
            )
    return None


def _by_sentinel(name: str) -> Question:
    async def ask(sentinel: Redis) -> Told:
        try:
            known = await sentinel.execute_command("SENTINEL MASTER", name)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if "no such master" in str(error).lower():
                raise NotFoundError(
                    "the sentinels of the shared store watch no set of the name that state.url"
                    " gives; correct it",
                    lasting=True,
                ) from None
            if "unknown command" in str(error):
                raise NotFoundError(
                    "state.url names servers as sentinels that are none; give it the addresses of"
                    " sentinels, which are at port 26379 as a rule",
                    lasting=True,
                ) from None
            raise
        return Told((known["ip"], known["port"]), known["config-epoch"])

    return ask


def _by_node(slot: int) -> Question:
    async def ask(node: Redis) -> Told:
        try:
            ranges = await node.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if "cluster support disabled" in str(error):
                raise NotFoundError(
                    "state.url names servers as nodes of a cluster that are none; write it as"
                    " valkey://HOST:PORT, or valkey+sentinel://",
                    lasting=True,
                ) from None
            raise
        for first, last, primary, *_ in ranges:
            if first <= slot <= last:
                # A node that does not say at which host it is meant is the one that was asked.
                host = (primary[0] or b"").decode() or _host_of(node)
                return Told((host, primary[1]))
        raise ResponseError("CLUSTERDOWN Hash slot not served")

    return ask


def _host_of(node: Redis) -> str:
    return str(node.connection_pool.connection_kwargs["host"])
