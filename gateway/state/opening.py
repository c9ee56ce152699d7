"""Opens the store that the settings name."""

import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from gateway.background import in_background
from gateway.clock import Clock
from gateway.regular_file import require_regular
from gateway.renewal import Renewable
from gateway.state.errors import StoreDown
from gateway.state.owner_address import OwnerAddress
from gateway.state.settings import MEMORY, StoreSettings
from gateway.state.sqlite import sqlite_store
from gateway.state.sqlite_here import SqlHere
from gateway.state.sqlite_schema import prepare, try_out
from gateway.state.sqlite_thread import SqlThread
from gateway.state.store import Store
from gateway.state.together import SharedChannel, SharedOwnLimits
from gateway.writable import require_writable


@contextlib.asynccontextmanager
async def open_store(
    settings: StoreSettings,
    clock: Clock,
    renew: Callable[[Renewable], None] = lambda _: None,
    owner: OwnerAddress | None = None,
) -> AsyncIterator[Store]:
    """`renew` is told what files of certificates the store has read.

    `owner`: who has the embedded store, where another process of this machine does.

    Raises StoreDown for a file or server that cannot be used.

    A Valkey that is down is no error yet: growth is refused until it answers.
    """
    if settings.kind == "valkey":
        # Here, since the client library is installed for it only.
        from gateway.state.valkey import open_valkey  # noqa: PLC0415

        async with open_valkey(settings, clock, renew) as shared:
            yield shared
        return
    if owner is not None:
        # As above: where there is no owner, nothing is loaded for it.
        from gateway.state.owned import open_owned  # noqa: PLC0415

        async with open_owned(owner, clock, settings.answer_timeout_s) as owned:
            yield owned
        return
    database = SqlHere(prepare) if settings.path == MEMORY else await _open_file(settings)
    try:
        yield sqlite_store(database, clock, settings.replay_ttl_s)
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def open_shared(
    settings: StoreSettings, clock: Clock, *, follows: bool = False
) -> AsyncIterator[Store]:
    """The embedded store as its owner has it, for several processes. `follows`: another owner, that
    was killed. Raises StoreDown.
    """
    async with open_store(settings, clock) as store:
        limits = SharedOwnLimits(clock, follows=follows)
        yield replace(store, rates=limits, leases=limits, channel=SharedChannel(clock))


async def try_store(settings: StoreSettings) -> list[bytes]:
    """What opening the embedded store would come upon, while nothing is changed: the anchors of
    audit logs that it holds. Raises StoreDown as `open_store` does.
    """
    path, anchors = settings.path, list[bytes]()
    if settings.kind == "valkey" or path == MEMORY:
        return anchors
    if await in_background(lambda: _found(path)):
        trying = SqlThread(
            str(path), lambda db: anchors.extend(try_out(db)), settings.answer_timeout_s
        )
        await trying.open()
        await trying.close()
    return anchors


async def _open_file(settings: StoreSettings) -> SqlThread:
    await in_background(lambda: _create(settings.path))
    thread = SqlThread(str(settings.path), prepare, settings.answer_timeout_s)
    await thread.open()
    return thread


def _create(path: Path) -> None:
    """For its owner alone: answers to callers are kept in it.

    The files that SQLite puts beside it get the same mode.
    """
    with _told(path):
        path.touch(mode=0o600)
        _require_usable(path)


def _found(path: Path) -> bool:
    """Whether there is one; if not, it can be made."""
    with _told(path):
        found = path.exists()
        if found:
            _require_usable(path)
        else:
            require_writable(path.parent)
    return found


def _require_usable(path: Path) -> None:
    """Raises OSError. Without opening it, which would end the locks that this process has on it."""
    require_regular(path)
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    # SQLite makes others beside it.
    require_writable(path.parent)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreDown(
            f"the file {path} cannot be used as a store: {error.strerror}. Give state.path a file"
            " that this user may write to"
        ) from error
