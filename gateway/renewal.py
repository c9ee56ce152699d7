"""Certificates that are renewed while the process runs: their files are looked at every few
seconds, and taken over for new connections. Open ones go on.

What cannot be used is not taken over: what there is stays in use, and the log says so.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from msgspec import Struct

from gateway.background import in_background
from gateway.clock import Clock
from gateway.regular_file import read_file
from gateway.secret import named

_EVERY_S: Final = 5.0
_DAY_S: Final = 24 * 3600
_WARNED_S: Final = 14 * _DAY_S
"""How long before a certificate ends it is warned of, once a day."""

Use: TypeAlias = "Callable[[], None]"
Check: TypeAlias = "Callable[[Collection[Path]], None]"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Renewable(Struct, frozen=True):
    """Files of certificates that one part of the process has read at its start.

    `setting`: the key in the configuration that names them. `read`, off the event loop, reads
    them, and returns what puts them into use, which is called on the loop; it raises OSError
    or ValueError for what cannot be used.
    """

    setting: str
    files: tuple[Path, ...]
    read: Callable[[], Use]


class _Watch:
    """The files of one setting. Made when its part has just read them."""

    def __init__(self, renewable: Renewable, check: Check) -> None:
        self.renewable = renewable
        self._check = check
        self.refused = False
        self.asked = asyncio.Event()
        self._in_use, _ = _content(renewable.files)
        self._doubted = self._told = ""

    async def look(self) -> bool:
        """Whether other files are in use now."""
        renewable = self.renewable
        content, unreadable = await in_background(lambda: _content(renewable.files))
        if content == self._in_use:
            self._doubted, self._told, self.refused = "", "", False
            return False
        try:
            if unreadable is not None:
                # A pipe, say, would keep `read` waiting for ever.
                raise unreadable
            use = await in_background(self._checked)
            if (await in_background(lambda: _content(renewable.files)))[0] != content:
                return False
            use()
        except (OSError, ValueError) as error:
            self._refuse(content, error)
            return False
        self._in_use, self._doubted, self._told, self.refused = content, "", "", False
        log.info("certificates taken over", setting=renewable.setting)
        return True

    def _checked(self) -> Use:
        use = self.renewable.read()
        self._check(self.renewable.files)
        return use

    def _refuse(self, content: str, error: Exception) -> None:
        """Told at the second look only: files that belong together are written one by one."""
        if self._doubted != content:
            self._doubted = content
        elif self._told != content:
            self.refused, self._told = True, content
            log.error(
                "certificates not taken over, the old ones stay in use",
                setting=self.renewable.setting,
                files=[named(file) for file in self.renewable.files],
                cause=getattr(error, "strerror", None) or str(error),
            )


class Renewals:
    """All of one process. `check`, off the event loop, raises ValueError or OSError for files whose
    certificates cannot be used now. `ends`: when each setting's certificates end, in seconds since
    1970, read off the event loop. `warns`: whether it is the one of several that warns of that.
    """

    def __init__(
        self,
        clock: Clock,
        check: Check,
        ends: Callable[[], Mapping[str, float]],
        *,
        warns: bool,
    ) -> None:
        self._clock = clock
        self._check = check
        self._warns = warns
        self._read_ends = ends
        self._watches: list[_Watch] = []
        self.ends: Mapping[str, float] = {}
        """By setting, as far as its files can be read."""

    def add(self, renewable: Renewable) -> None:
        """Before `running`, off the event loop or at the start, right after its part has read the
        files.
        """
        self._watches.append(_Watch(renewable, self._check))

    @property
    def refused(self) -> Mapping[str, bool]:
        """By setting: whether its files hold something that is not in use, since it cannot be."""
        return {watch.renewable.setting: watch.refused for watch in self._watches}

    def ask(self) -> None:
        """Look soon. Safe in a signal handler of the event loop."""
        for watch in self._watches:
            watch.asked.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks until left."""
        self.ends = await in_background(self._read_ends)
        # A file that hangs holds up no other.
        tasks = [asyncio.create_task(self._follow(watch)) for watch in self._watches]
        if self._warns:
            tasks.append(asyncio.create_task(self._warn_daily()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, watch: _Watch) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await watch.asked.wait()
            watch.asked.clear()
            if await watch.look():
                self.ends = await in_background(self._read_ends)

    async def _warn_daily(self) -> None:
        while True:
            for setting, end in self.ends.items():
                left_s = end - self._clock.time()
                if left_s < _WARNED_S:
                    log.warning(
                        "a certificate has expired" if left_s <= 0 else "a certificate ends soon",
                        setting=setting,
                        days=round(left_s / _DAY_S, 1),
                        do="renew its file: it is taken over without a restart",
                    )
            await self._clock.sleep(_DAY_S)


def _content(files: tuple[Path, ...]) -> tuple[str, OSError | None]:
    """What they hold, or why they cannot be read, and the first error."""
    digest, unreadable = hashlib.sha256(), None
    for file in files:
        try:
            part = read_file(file)
        except OSError as error:
            part = f"{error.errno}".encode()
            unreadable = unreadable or error
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest(), unreadable
