"""A store of each kind to try, and operations for it."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock, SystemClock
from gateway.secret import Secret
from gateway.state import Charge, Operation, Store, StoreSettings, open_store
from gateway.state.opening import open_shared
from gateway.state.owner import Owner
from gateway.state.owner_address import OwnerAddress
from tests.fakes import SteppedClock
from tests.state.valkey_server import ValkeyProcess

OWNED = "owned.db"
"""A file of this name is asked as a worker asks it: through its owner, on a Unix socket."""
KINDS = ("file", "memory", "owned", "valkey")


@dataclass(frozen=True, slots=True)
class Bench:
    """A store and a way to let time pass for it: stepped where the clock is ours, slept where it is
    the server's.
    """

    store: Store
    clock: SteppedClock | None

    async def wait(self, seconds: float) -> None:
        if self.clock:
            self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)


def settings_for(kind: str, folder: Path, valkey: ValkeyProcess, **more) -> StoreSettings:
    """A fresh store each time.

    The timeout is long, as the machine may be busy; tests of the timeout set their own.
    """
    match kind:
        case "file":
            more["path"] = folder / "state.db"
        case "owned":
            more["path"] = folder / OWNED
        case "valkey":
            more |= {"kind": "valkey", "url": Secret(valkey.url), "prefix": f"t{uuid.uuid4().hex}"}
    return StoreSettings(**{"timeout_s": 5, **more})


@contextlib.asynccontextmanager
async def running_bench(settings: StoreSettings) -> AsyncIterator[Bench]:
    clock = SteppedClock() if settings.kind == "sqlite" else None
    async with contextlib.AsyncExitStack() as stack:
        owner = None
        if settings.path.name == OWNED:
            place = settings.path.with_suffix(".sock")
            await stack.enter_async_context(running_owner(settings, clock, place))
            owner = OwnerAddress(place, 2)
        opened = open_store(settings, clock or SystemClock(), owner=owner)
        yield Bench(await stack.enter_async_context(opened), clock)


@contextlib.asynccontextmanager
async def running_owner(settings: StoreSettings, clock: Clock, place: Path) -> AsyncIterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        async with open_shared(settings, clock) as store, Owner(store).listening(listener):
            yield


def operation(
    op_id: str = "",
    *charges: Charge,
    request_id: str = "",
    fingerprint: bytes = b"print",
    ttl_s: float = 60,
    **more,
) -> Operation:
    return Operation(
        id=op_id or uuid.uuid4().hex,
        tenant=more.get("tenant", "payments"),
        rpc=more.get("rpc", "CreateVault"),
        request_id=request_id,
        fingerprint=fingerprint,
        charges=charges,
        ttl_s=ttl_s,
        detail=more.get("detail", b""),
        topic=more.get("topic", ""),
    )
