"""The thread behind each part of the log that must not wait, or be waited for: the writer, the
anchors, the export and what happens to closed segments.
"""

import threading
import time
from collections.abc import Callable

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Worker:
    """Runs `run` in a thread until that returns, which it does soon once `closing` is set.

    `bell` guards what `run` shares with other threads, and is rung whenever there is something for
    it to do.
    """

    def __init__(self, name: str, run: Callable[[], None], *, close_s: float) -> None:
        self.bell = threading.Condition()
        self.closing = False
        self._close_s = close_s
        self._busy_since: float | None = None
        # A disk or a host that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> bool:
        """Lets it end. False if it does not within `close_s`: then it is left behind."""
        with self.bell:
            self.closing = True
            self.bell.notify_all()
        self._thread.join(self._close_s)
        return not self._thread.is_alive()

    @property
    def busy_s(self) -> float:
        """How long it has been at what it tries now; 0 while it tries nothing."""
        since = self._busy_since
        return 0 if since is None else time.monotonic() - since

    def pause(self, seconds: float) -> None:
        """To be called in the thread: waits that long, or until it is to end."""
        with self.bell:
            self.bell.wait_for(lambda: self.closing, seconds)

    def tried(self, work: Callable[[], object], unexpected: str) -> str:
        """To be called in the thread: does the work; why it failed, or nothing.

        Whatever happens, the thread goes on, since nobody else would do its work. `unexpected`:
        what the diagnostic log says of a failure that is no OSError.
        """
        self._busy_since = time.monotonic()
        try:
            work()
        except OSError as error:
            return error.strerror or str(error)
        except Exception as error:
            log.exception(unexpected)
            return type(error).__name__
        finally:
            self._busy_since = None
        return ""
