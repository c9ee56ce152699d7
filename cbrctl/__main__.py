"""The first and the last step of the process: a sentence in place of a trace, and the exit code."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from cbrctl.failures import (
    BUG,
    INTERRUPTED,
    PIPE_CLOSED,
    REFUSED,
    Failed,
    ReaderGone,
    telling_of_output,
)


def run() -> NoReturn:
    """Carries out the command line. CBRCTL_DEBUG=1 shows where an unexpected error comes from."""
    signal.signal(signal.SIGINT, _interrupted)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        # A name that the terminal's character set does not have is no reason to fail.
        stream.reconfigure(errors="backslashreplace")
    try:
        code = _carried_out()
        with telling_of_output():
            if sys.stdout:
                sys.stdout.flush()
    except Failed as failure:
        failure.show()
        _forget_output()
        code = failure.exit_code
    except ReaderGone:
        # Who reads has gone: there is nobody to tell, nor at exit.
        _forget_output()
        code = PIPE_CLOSED
    if code == INTERRUPTED:
        # At once: a further signal would end what tidies up, and the exit code with it.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _carried_out() -> int:
    from cbrctl.main import main

    try:
        ended = main(prog_name="cbrctl", standalone_mode=False)
    except click.ClickException as failure:
        failure.show()
        return failure.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("\nInterrupted.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except ReaderGone:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, a trace helps nobody at a terminal
        return _unexpected(error)
    return ended if isinstance(ended, int) else 0


def _forget_output() -> None:
    """What was not written is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Ends the command in order; a second one at once, whatever does not end."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    raise KeyboardInterrupt


def _unexpected(error: Exception) -> int:
    if os.environ.get("CBRCTL_DEBUG"):
        raise error
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("cbrctl"):
        print(f"Error: {error.name} is not installed: pip install cbrctl", file=sys.stderr)  # noqa: T201
        return REFUSED
    print(  # noqa: T201
        f"Error: {type(error).__name__}: {error}\n  This is a mistake in cbrctl. CBRCTL_DEBUG=1"
        " shows where: please report it.",
        file=sys.stderr,
    )
    return BUG


if __name__ == "__main__":
    run()
