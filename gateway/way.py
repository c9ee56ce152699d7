"""The way to CBR, and the configuration by which it is gone."""

import contextlib
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from gateway.background import in_background
from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.observed import Observed
from gateway.reload import Read
from gateway.renewal import Renewable
from gateway.snapshots import Snapshots, key_files
from gateway.state import Life, StoreDown
from gateway.state.owner_address import OwnerAddress
from gateway.tenants import Current
from gateway.tenants.keys import FileKeys
from gateway.upstream.account import Account
from gateway.upstream.breakers import Breakers
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.shares import Shares
from gateway.upstream.transport import OpenTransport, open_transport

PAGE_TOKEN_KEY_BYTES: Final = 32


class ProcessRole(Struct, frozen=True):
    """Where a process stands among others.

    `worker`: its number, if it is one of several that share a port. `owner`: who has the store's
    file for them. `key_files`: reads the files of keys that a configuration names.
    """

    worker: int | None = None
    owner: OwnerAddress | None = None
    key_files: Callable[[Config], Mapping[str, FileKeys]] = key_files

    @property
    def shared(self) -> bool:
        """Whether others listen on the same ports."""
        return self.worker is not None

    @property
    def first(self) -> bool:
        """Whether it does what one of them is enough for."""
        return self.worker in {None, 1}


ALONE: Final = ProcessRole()


class Way(Struct, frozen=True):
    """The way to CBR, and the configuration by which it is gone."""

    clock: Clock
    transport: OpenTransport
    catalog: Catalog
    client: Client
    reader: UpstreamReader
    key: bytes
    tokens: PageTokens
    breakers: Breakers
    shares: Shares
    snapshots: Snapshots
    read: Read
    current: Current
    role: ProcessRole
    observed: Observed
    renewable: list[Renewable]
    """Files of certificates that parts have read."""


async def open_way(
    stack: contextlib.AsyncExitStack,
    config: Config,
    observed: Observed,
    role: ProcessRole,
    catalog: Catalog,
) -> Way:
    clock, key = SystemClock(), _token_key(config)
    transport = open_transport(config.upstream.transport)
    stack.push_async_callback(transport.aclose)
    breakers = Breakers(clock, random.random)
    shares = Shares(transport, config.upstream.transport.max_connections)
    snapshots = Snapshots(transport, shares, breakers, clock, meter=observed.upstream)
    stack.push_async_callback(snapshots.aclose)
    files = await in_background(lambda: role.key_files(config))
    current = Current(snapshots.build(config, files))
    tokens = PageTokens(key, clock)
    client = Client(catalog, shares, breakers, tokens, clock, meter=observed.upstream)

    def account_of(project: str) -> Account | None:
        return current.snapshot.accounts.get(project)

    return Way(
        clock=clock,
        transport=transport,
        catalog=catalog,
        client=client,
        reader=UpstreamReader(catalog, client, account_of),
        key=key,
        tokens=tokens,
        breakers=breakers,
        shares=shares,
        snapshots=snapshots,
        read=(config, files),
        current=current,
        role=role,
        observed=observed,
        renewable=observed.certificates(),
    )


def _token_key(config: Config) -> bytes:
    return (
        config.page_token_key.reveal().encode()
        if config.page_token_key
        else secrets.token_bytes(PAGE_TOKEN_KEY_BYTES)
    )


async def clocks_of(client: Client, data: Life) -> list[float]:
    """What CBR's clocks and the store's say now, as far as they are known."""
    told = client.times()
    with contextlib.suppress(StoreDown):
        if (now := await data.time()) is not None:
            told.append(now)
    return told
