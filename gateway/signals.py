"""The signals of a process's life, from its first steps to its last: none kills it halfway, and
none is forgotten.

SIGTERM, SIGINT   the end: at once while it starts, in order once it serves, and without further
                  waiting the second time
SIGHUP            reads the configuration anew: once it serves, however early it was asked for
SIGUSR1, SIGUSR2  nothing: what rotates logs may send them to whatever writes one

Until `installed` has begun each of them kills the process, so this module imports next to nothing.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_WITHOUT_EFFECT: Final = (signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """What signals have asked for so far.

    Outside of `installed` and `heard_on` they do as Python has it.
    """

    def __init__(self) -> None:
        self._ended = False
        self._reload_asked = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """An end leaves by SystemExit, wherever the main thread is, once; and a reload is
        remembered. After it, all are ignored.
        """
        told = sys.unraisablehook
        sys.unraisablehook = lambda lost: None if lost.exc_type is SystemExit else told(lost)
        try:
            for number in _WITHOUT_EFFECT:
                signal.signal(number, signal.SIG_IGN)
            for number in _ENDING:
                signal.signal(number, self._end)
            signal.signal(signal.SIGHUP, self._ask_reload)
            yield
        finally:
            _ignored()
            sys.unraisablehook = told

    @contextlib.contextmanager
    def heard_on(
        self,
        loop: "asyncio.AbstractEventLoop",
        end: Callable[[], None],
        reload: Callable[[], None],
    ) -> Iterator[None]:
        """Has the loop call these, for what was asked before, too."""

        def note_end() -> None:
            self._ended = True
            end()

        wishes = dict.fromkeys(_ENDING, note_end) | {signal.SIGHUP: reload}

        def hear(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(wishes[signal.Signals(number)])

        # Not by `add_signal_handler`: what takes its handlers away sets the defaults, which kill.
        before = {number: signal.signal(number, hear) for number in wishes}
        if self._reload_asked:
            reload()
        if self._ended:
            end()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if not self._ended:
            # Noted as well, since an exception does not get through everything that calls Python:
            # one that is lost is not worth a word.
            self._ended = True
            # Here, too: what leaves `installed` before its body has begun passes no `finally`.
            _ignored()
            raise SystemExit(0)

    def _ask_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_asked = True


def _ignored() -> None:
    """The end of the interpreter takes handlers away, but leaves what is ignored as it is."""
    for number in (*_ENDING, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
