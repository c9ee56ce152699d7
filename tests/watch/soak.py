"""Whether the tests of this folder run at full size: `make soak-watch` asks for it.

Their figures then go to a file, for people to read.
"""

import os
from pathlib import Path

_VARIABLE = "WATCH_SOAK"
SOAK = _VARIABLE in os.environ


def report(line):
    """`WATCH_SOAK` names the file."""
    if SOAK:
        with Path(os.environ[_VARIABLE]).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
