"""`cbr-gateway serve` in a process of its own that need not load its code: it is forked from one
that has loaded it and has done nothing else. From its configuration on it is what `python -m
gateway serve` is, which the tests of starts and signals begin with; to load it takes a second, and
the tests that kill gateways start hundreds.
"""

import asyncio
import atexit
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preloaded"])


class Gateway:
    """A running process, to be used as one of asyncio.subprocess."""

    def __init__(self, config: Path, environ: Mapping[str, str]) -> None:
        words = ("serve", "--config", str(config), "--log-level", "error")
        self._process = _FORKS.Process(target=_run, args=(words, dict(environ)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    async def wait(self) -> int:
        while (code := self.returncode) is None:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.005)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)


def _run(words: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """The whole life of the process that was forked."""
    from gateway import __main__, failpoint  # noqa: PLC0415 - where it is loaded already

    os.environ.clear()
    os.environ.update(environ)
    importlib.reload(failpoint)
    sys.argv = ["cbr-gateway", *words]
    try:
        __main__.run()
    finally:
        # As at the end of any other process than one of `multiprocessing`.
        atexit._run_exitfuncs()
