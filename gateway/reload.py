"""Taking over a changed configuration while calls go on.

Everything is read and checked first; then one assignment makes it the configuration of all calls
that begin from then on. A configuration with any mistake is not taken over: the old one goes on,
and the log names every mistake. Only files of tenants are apart from each other: where a mistake is
in one of them, that tenant stays as it was, and the others are taken over.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import structlog
from pydantic import BaseModel

from gateway.background import in_background
from gateway.config import Config, ConfigError
from gateway.config.watching import DirectoryWatch
from gateway.snapshots import Snapshots, key_files
from gateway.tenants import Current, Snapshot
from gateway.tenants.keys import FileKeys

_GIVE_UP_S: Final = 30.0
_HANGING: Final = 4
"""How many reads that do not end are left behind before no other one is begun."""
_KEPT: Final = "configuration not taken over, the old one stays"
_PARTLY: Final = "files of tenants not taken over, what they said before stays"
_LIVE: Final = frozenset(
    {
        "tenants",
        "tenants_dir",
        "limits",
        "issuers",
        "upstream.regions",
        "upstream.credentials",
        "audit.policy",
        "log.level",
    }
)

Model = TypeVar("Model", bound=BaseModel)
Read = tuple[Config, Mapping[str, FileKeys]]
"""A configuration, and what the files of keys hold that it names."""
_Found = tuple[Read, ConfigError | None]
"""And what is wrong with it, where it is without files of tenants that have mistakes."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _GivenUp(Exception):  # noqa: N818 - says what is the case
    """The configuration was not read. The text says why, and what to do."""


class Reloader:
    """Loads the configuration anew when told to, or when the directory of tenants changes.

    `load` raises ConfigError.
    """

    def __init__(
        self,
        first: Read,
        load: Callable[[], Config],
        snapshots: Snapshots,
        current: Current,
        taken: Callable[[Read], None],
        *,
        read_files: Callable[[Config], Mapping[str, FileKeys]] = key_files,
    ) -> None:
        """`first`: what is in use now. `taken` hears of each that is from now on."""
        config, _ = first
        self._started_with = config
        self._load = load
        self._read_files = read_files
        self._snapshots = snapshots
        self._current = current
        self._taken = taken
        self._asked = asyncio.Event()
        self._one_by_one = asyncio.Lock()
        """So that what was read earlier is never taken over later."""
        self.refused = False
        """Whether the last reload was, so that an older configuration is in use, all or in part."""
        self.problems: tuple[str, ...] = ()
        """Why, with key, file and line where they are known."""
        self._told = False
        """Somebody has asked, and not only a watch."""
        self._last = first
        self._hanging: set[asyncio.Future[_Found]] = set()
        self._in_use = _directories(config.tenants_dir)
        self._watches: dict[Path, DirectoryWatch] = {}

    def ask(self) -> None:
        """Reload soon; several wishes at once are one.

        Safe in a signal handler of the event loop.
        """
        self._told = True
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
                told, self._told = self._told, False
                await self.reload(told=told)
        finally:
            self._follow(set())

    async def reload(self, *, told: bool = True) -> None:
        """Takes over what is now configured, or keeps what there is.

        Never raises. `told`: an answer is expected, even if nothing has changed.
        """
        async with self._one_by_one:
            await self._reload(told=told)

    async def _reload(self, *, told: bool) -> None:
        before, self.problems = self._current.snapshot, ()
        try:
            # In a thread: reading and checking thousands of tenants would hold up the calls.
            read, faulty = await self._read_in_time()
            snapshot = self._snapshots.build(*self._usable(read))
        except ConfigError as report:
            problems = [str(problem) for problem in report.problems]
            self.problems = tuple(problems)
            log.error(_KEPT, active=before.version, problems=problems)  # noqa: TRY400 - the problems say more than a traceback
            # What is wrong may be mended there as well as where the tenants are now.
            self._follow({*self._in_use, *_directories(report.tenants_dir)})
        except _GivenUp as reason:
            self.problems = (str(reason),)
            log.error(str(reason), active=before.version, hanging=len(self._hanging))  # noqa: TRY400 - the reason says more than a traceback
        except Exception:
            self.problems = ("it could not be read or used: the gateway's log has why",)
            log.exception(_KEPT, active=before.version)
        else:
            self._take(read, faulty, snapshot, told=told)
        if self._current.snapshot is before:
            self.refused = True

    def _take(
        self, read: Read, faulty: ConfigError | None, snapshot: Snapshot, *, told: bool
    ) -> None:
        """`faulty`: what is wrong with files that were left as they were."""
        (config, _), before = read, self._current.snapshot
        if faulty is not None:
            problems = [str(problem) for problem in faulty.problems]
            self.problems = tuple(problems)
            log.error(_PARTLY, active=snapshot.version, problems=problems)
        self._current.snapshot = snapshot
        self._taken(self._usable(read))
        self._in_use = _directories(config.tenants_dir)
        self._follow(self._in_use)
        told = told or self._last != read
        self._last = read
        (log.info if told else log.debug)(
            "configuration active",
            version=snapshot.version,
            before=before.version,
            tenants=snapshot.tenants,
        )
        if told and (late := sorted(_changed(self._started_with, config))):
            log.warning("settings that were changed need a restart", keys=late)
        self.refused = faulty is not None

    async def _read_in_time(self) -> _Found:
        """Raises _GivenUp where it does not end: then its thread is left behind, and what it still
        finds counts for nothing.
        """
        if len(self._hanging) >= _HANGING:
            raise _GivenUp(
                "the configuration is not read while earlier reads of it do not end: look for a"
                " disk that hangs. The old one stays"
            )
        reading = asyncio.ensure_future(in_background(self._read))
        if not (await asyncio.wait({reading}, timeout=_GIVE_UP_S))[0]:
            self._hanging.add(reading)
            reading.add_done_callback(self._freed)
            raise _GivenUp(
                "reading the configuration does not end and is given up: look for a disk that"
                " hangs. The old one stays"
            )
        return await reading

    def _freed(self, reading: "asyncio.Future[_Found]") -> None:
        """A read that was given up has ended: what it found is old, so everything is read again."""
        self._hanging.discard(reading)
        # With the process all of them are cancelled. An error of one is nobody's any more.
        if not reading.cancelled():
            reading.exception()
            self.ask()

    def _read(self) -> _Found:
        last, _ = self._last
        faulty = None
        try:
            config = self._load()
        except ConfigError as report:
            usable = report.usable(last.files)
            if usable is None or usable == last:
                raise
            config, faulty = usable, report
        return (config, self._read_files(config)), faulty

    def _usable(self, read: Read) -> Read:
        """Without what needs a restart."""
        config, files = read
        return _in_effect(self._started_with, config), files

    def _follow(self, directories: set[Path]) -> None:
        """Watches these, and no others any more."""
        for gone in self._watches.keys() - directories:
            self._watches.pop(gone).stop()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._asked.set)

        for new in directories - self._watches.keys():
            self._watches[new] = DirectoryWatch(new, changed)


def _directories(directory: Path | None) -> set[Path]:
    return set() if directory is None else {directory}


def _in_effect(started: Model, new: Model, prefix: str = "") -> Model:
    """The new one, but for what a reload does not take over."""
    kept: dict[str, object] = {}
    for name in type(started).model_fields:
        key, before, after = f"{prefix}{name}", getattr(started, name), getattr(new, name)
        if key not in _LIVE and before != after:
            parts = isinstance(before, BaseModel) and type(before) is type(after)
            kept[name] = _in_effect(before, after, f"{key}.") if parts else before
    return new.model_copy(update=kept) if kept else new


def _changed(old: BaseModel, new: BaseModel, prefix: str = "") -> set[str]:
    """Keys that a reload does not take over, as far as they differ."""
    keys: set[str] = set()
    for name in type(old).model_fields:
        key, before, after = f"{prefix}{name}", getattr(old, name), getattr(new, name)
        if key not in _LIVE and before != after:
            keys |= (
                _changed(before, after, f"{key}.")
                if isinstance(before, BaseModel) and type(before) is type(after)
                else {key}
            )
    return keys
