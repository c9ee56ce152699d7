"""The limits in force: those of the configuration, some overridden by administrators."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from gateway import failpoint
from gateway.limits.limits import Limit, Limits
from gateway.state import VersionedKeyValue

_PREFIX: Final = "limit:"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LimitOverrides:
    """One per process. `limits` is replaced as a whole; a call keeps the one it began with."""

    def __init__(self, configured: Limits, stored: VersionedKeyValue) -> None:
        self.limits = configured
        self.set_while_running: frozenset[str] = frozenset()
        self._configured = configured
        self._overrides: tuple[Limit, ...] = ()
        self._stored = stored
        self._version = -1
        self._listeners: list[Callable[[Limits], None]] = []
        self.on_shadow: Callable[[Sequence[str]], None] = lambda _keys: None
        """Hears which shadow limits would have refused a call."""

    def subscribe(self, listener: Callable[[Limits], None]) -> None:
        """`listener` is called with every new set of limits."""
        self._listeners.append(listener)

    def note_shadow(self, keys: Sequence[str]) -> None:
        """Shadow limits would have refused a call."""
        if keys:
            log.warning("shadow limits would refuse", limits=list(keys))
            self.on_shadow(keys)

    async def refresh(self) -> None:
        """Reads what other processes and earlier lives of this one have set. Raises StoreDown."""
        version = await self._stored.version()
        if version == self._version:
            return
        found = {}
        for key, value in (await self._stored.all()).items():
            if key.startswith(_PREFIX):
                try:
                    found[key.removeprefix(_PREFIX)] = msgspec.json.decode(value, type=Limit)
                except msgspec.ValidationError:
                    log.warning("a stored limit is of another version and has no effect", limit=key)
        self._overrides = tuple(found.values())
        self.set_while_running = frozenset(found)
        self._version = version
        self.configure(self._configured)

    def configure(self, configured: Limits) -> None:
        """Takes the limits of a configuration; those set while running still override theirs."""
        self._configured = configured
        self.limits = configured.overlaid(self._overrides)
        for listener in self._listeners:
            listener(self.limits)

    async def put(self, limit: Limit) -> None:
        """Raises StoreDown."""
        await self._stored.put(_PREFIX + limit.name, msgspec.json.encode(limit))
        failpoint.reach("after_override")
        await self.refresh()

    async def delete(self, name: str) -> bool:
        """The configured limit of that name, if there is one, is in force again.

        False: none was set while running. Raises StoreDown.
        """
        await self.refresh()
        if name not in self.set_while_running:
            return False
        await self._stored.delete(_PREFIX + name)
        await self.refresh()
        return True
