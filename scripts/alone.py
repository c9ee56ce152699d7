"""Runs a command while no other one runs that was started so in this tree: two makes that set up
one `.venv` would break it. Needs nothing but Python's own library, since it comes before all else;
the lock is one on the Makefile, and goes with this process.
"""

import fcntl
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

_LOCKED: Final = Path(__file__).parents[1] / "Makefile"


def main(command: list[str]) -> int:
    # Written to by nobody: some network disks lock only what could be.
    with _LOCKED.open("r+b") as makefile:
        try:
            _lock(makefile.fileno())
        except KeyboardInterrupt:
            return 130
        except OSError as error:
            _say(f"This disk has no locks ({error.strerror}): run one make at a time here")
        # Ctrl-C reaches the command as well, and is its business.
        signal.signal(signal.SIGINT, lambda *_: None)
        # Not closed: by what make keeps open its parts agree how many of them run.
        return subprocess.run(command, close_fds=False, check=False).returncode


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("Waiting for another make, which sets up this tree")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
