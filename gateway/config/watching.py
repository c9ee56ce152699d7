"""Watching the directory of tenants, as it is at each moment.

Events of the system are quick, and do not tell everything: they come from the directory that was
there when the watch began, and none comes for a mount, for the target of a link, or from some file
systems. So it is also compared every few seconds, and watched anew when its path leads elsewhere.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from gateway.config.tenant_files import fingerprint
from gateway.secret import named

_QUIET_MS: Final = 50
"""How long a directory must be quiet before it is looked at."""
_LOOK_MS: Final = 5_000
"""How often it is looked at without an event."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class DirectoryWatch:
    """Calls `changed` whenever the files differ from those seen last, and once at first.

    In a thread of its own, since a file system may hang.
    """

    def __init__(self, directory: Path, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._changed = changed
        self._stop = threading.Event()
        self._seen: object = None
        threading.Thread(target=self._run, name="tenants-dir", daemon=True).start()

    def stop(self) -> None:
        """It is not called any more. What hangs is left behind."""
        self._stop.set()

    def _run(self) -> None:
        watched = True
        while not self._stop.is_set():
            place = self._place()
            if self._seen is not None:
                self._probe()
            try:
                for _ in self._events():
                    watched = True
                    self._probe()
                    if self._place() != place:
                        break
            except (OSError, RuntimeError) as error:
                # It is gone for now, or the system gives no more watches.
                if watched:
                    cause = getattr(error, "strerror", None) or type(error).__name__
                    log.warning(
                        "the directory of tenants is only compared every few seconds",
                        directory=named(self._directory),
                        cause=cause,
                    )
                watched = False
                self._probe()
                self._stop.wait(_LOOK_MS / 1000)

    def _events(self) -> Iterator[object]:
        """One for each change, and one for each time that nothing was told for a while."""
        # Here, since most gateways watch nothing.
        from watchfiles import watch  # noqa: PLC0415

        return watch(
            self._directory,
            watch_filter=None,
            recursive=False,
            step=_QUIET_MS,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
        )

    def _probe(self) -> None:
        try:
            present: object = fingerprint(self._directory)
        except OSError as error:
            present = str(error)
        # The first look finds what was changed between reading the configuration and watching.
        if present != self._seen and not self._stop.is_set():
            self._seen = present
            self._changed()

    def _place(self) -> tuple[int, int] | None:
        """Which directory the path leads to; None where there is none."""
        try:
            found = self._directory.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
