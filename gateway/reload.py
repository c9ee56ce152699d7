"""Taking over a changed configuration while calls go on.

Everything is read and checked first; then one assignment makes it the configuration of all calls that begin from then on. A configuration with any
mistake is not taken over, not even in part: the old one goes on, and the log names every mistake.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel
from watchfiles import awatch

from gateway.background import in_background
from gateway.config import Config, ConfigError
from gateway.config.tenant_files import fingerprint
from gateway.snapshots import Snapshots, key_files
from gateway.tenants import Current
from gateway.tenants.keys import FileKeys

_QUIET_MS: Final = 50
"""How long a directory must be quiet before it is read."""
_LOOK_MS: Final = 5_000
"""How often it is looked at without an event: some file systems tell nothing."""
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

    def ask(self) -> None:
        """Reload soon; several wishes at once are one. Safe in a signal handler of the event loop."""
        self._asked.set()

    async def run(self) -> None:
        """Reloads whenever asked, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._started_with.tenants_dir is not None:
                group.create_task(self._watch(self._started_with.tenants_dir))
            while True:
                await self._asked.wait()
                self._asked.clear()
                await self.reload()

    async def reload(self) -> None:
        """Takes over what is now configured, or keeps what there is. Never raises."""
        before = self._current.snapshot
        try:
            # In a thread: reading and checking thousands of tenants would hold up the calls.
            config, keys = await in_background(self._read)
            snapshot = self._snapshots.build(config, keys)
        except ConfigError as report:
            problems = [str(problem) for problem in report.problems]
            log.error(_KEPT, active=before.version, problems=problems)  # noqa: TRY400 - the problems say more than a traceback
        except Exception:
            log.exception(_KEPT, active=before.version)
        else:
            self._current.snapshot = snapshot
            self._taken(config)
            log.info("configuration active", version=snapshot.version, before=before.version, tenants=snapshot.tenants)
            if late := sorted(_changed(self._started_with, config)):
                log.warning("settings that were changed need a restart", keys=late)

    def _read(self) -> tuple[Config, Mapping[str, FileKeys]]:
        config = self._load()
        return config, key_files(config)

    async def _watch(self, directory: Path) -> None:
        """Asks for a reload whenever the files differ from those seen last. Kubernetes replaces them all by moving one link."""
        seen: object = None
        try:
            async for _ in awatch(directory, watch_filter=None, recursive=False, step=_QUIET_MS, rust_timeout=_LOOK_MS, yield_on_timeout=True):
                present = await in_background(lambda: _fingerprint(directory))
                # The first look finds what was changed between reading the configuration and watching it.
                if present != seen:
                    seen = present
                    self.ask()
        except (OSError, RuntimeError):
            log.exception("the directory of tenants is not watched any more, send SIGHUP after a change", directory=str(directory))


def _fingerprint(directory: Path) -> object:
    try:
        return fingerprint(directory)
    except OSError as error:
        return str(error)


def _changed(old: BaseModel, new: BaseModel, prefix: str = "") -> set[str]:
    """Keys that a reload does not take over, as far as they differ."""
    keys: set[str] = set()
    for name in type(old).model_fields:
        key, before, after = f"{prefix}{name}", getattr(old, name), getattr(new, name)
        if key not in _LIVE and before != after:
            keys |= _changed(before, after, f"{key}.") if isinstance(before, BaseModel) and type(before) is type(after) else {key}
    return keys
