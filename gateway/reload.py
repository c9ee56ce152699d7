"""Taking over a changed configuration while calls go on.

Everything is read and checked first; then one assignment makes it the configuration of all calls that begin from then on. A configuration with any
mistake is not taken over, not even in part: the old one goes on, and the log names every mistake.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel

from gateway.background import in_background
from gateway.config import Config, ConfigError
from gateway.config.watching import DirectoryWatch
from gateway.snapshots import Snapshots, key_files
from gateway.tenants import Current
from gateway.tenants.keys import FileKeys

_SLOW_S: Final = 30.0
_KEPT: Final = "configuration not taken over, the old one stays"
_LIVE: Final = frozenset({"tenants", "tenants_dir", "limits", "issuers", "upstream.regions", "upstream.credentials", "audit.policy", "log.level"})

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Reloader:
    """Loads the configuration anew when told to, or when the directory of tenants changes. `load` raises ConfigError."""

    def __init__(self, config: Config, load: Callable[[], Config], snapshots: Snapshots, current: Current, taken: Callable[[Config], None]) -> None:
        self._started_with = config
        self._load = load
        self._snapshots = snapshots
        self._current = current
        self._taken = taken
        self._asked = asyncio.Event()
        self._in_use = _directories(config.tenants_dir)
        self._watches: dict[Path, DirectoryWatch] = {}

    def ask(self) -> None:
        """Reload soon; several wishes at once are one. Safe in a signal handler of the event loop."""
        self._asked.set()

    @property
    def watched(self) -> frozenset[Path]:
        """The directories that are watched now."""
        return frozenset(self._watches)

    async def run(self) -> None:
        """Reloads whenever asked, until cancelled."""
        self._follow(self._in_use)
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                await self.reload()
        finally:
            self._follow(set())

    async def reload(self) -> None:
        """Takes over what is now configured, or keeps what there is. Never raises."""
        before = self._current.snapshot
        try:
            # In a thread: reading and checking thousands of tenants would hold up the calls.
            config, keys = await self._patiently_read()
            snapshot = self._snapshots.build(config, keys)
        except ConfigError as report:
            problems = [str(problem) for problem in report.problems]
            log.error(_KEPT, active=before.version, problems=problems)  # noqa: TRY400 - the problems say more than a traceback
            # What is wrong may be mended there as well as where the tenants are now.
            self._follow({*self._in_use, *_directories(report.tenants_dir)})
        except Exception:
            log.exception(_KEPT, active=before.version)
        else:
            self._current.snapshot = snapshot
            self._taken(config)
            self._in_use = _directories(config.tenants_dir)
            self._follow(self._in_use)
            log.info("configuration active", version=snapshot.version, before=before.version, tenants=snapshot.tenants)
            if late := sorted(_changed(self._started_with, config)):
                log.warning("settings that were changed need a restart", keys=late)

    async def _patiently_read(self) -> tuple[Config, Mapping[str, FileKeys]]:
        """As long as it takes, but not in silence: no other reload is made meanwhile."""
        reading = asyncio.ensure_future(in_background(self._read))
        if not (await asyncio.wait({reading}, timeout=_SLOW_S))[0]:
            log.error("reading the configuration does not end: look for a disk that hangs. The old one stays until then", seconds=_SLOW_S)
        return await reading

    def _read(self) -> tuple[Config, Mapping[str, FileKeys]]:
        config = self._load()
        return config, key_files(config)

    def _follow(self, directories: set[Path]) -> None:
        """Watches these, and no others any more."""
        for gone in self._watches.keys() - directories:
            self._watches.pop(gone).stop()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.ask)

        for new in directories - self._watches.keys():
            self._watches[new] = DirectoryWatch(new, changed)


def _directories(directory: Path | None) -> set[Path]:
    return set() if directory is None else {directory}


def _changed(old: BaseModel, new: BaseModel, prefix: str = "") -> set[str]:
    """Keys that a reload does not take over, as far as they differ."""
    keys: set[str] = set()
    for name in type(old).model_fields:
        key, before, after = f"{prefix}{name}", getattr(old, name), getattr(new, name)
        if key not in _LIVE and before != after:
            keys |= _changed(before, after, f"{key}.") if isinstance(before, BaseModel) and type(before) is type(after) else {key}
    return keys
