"""The numbers of standard input, output and error, which belong to them though they are closed."""

import os
from typing import Final

_PLACES: Final = ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""Input and output the other way round, so that their use fails as that of what is closed."""


def hold() -> None:
    """Takes the numbers of those that are closed.

    Else the next file or connection would get them, and what libraries write to standard error, by
    its number, would stand in a database or a log. At its end libuv stops for such a connection.
    """
    for number, mode in _PLACES:
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # noqa: FBT003 - it takes no name
