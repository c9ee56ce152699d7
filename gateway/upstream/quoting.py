"""Percent-encoding for paths, queries and signatures: everything is encoded but letters, digits and
`-._~`.

Most of what CBR is asked for is written in these alone. `is_plain` sees that at once, where the
standard library looks at every character.
"""

import re
from typing import Final
from urllib.parse import quote

_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*")
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9._~/-]*")


def encoded(text: str) -> str:
    """The text as one segment of a path, or as a name or value of a query."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe="")


def is_plain_path(path: str) -> bool:
    """Whether a path reads the same encoded and not."""
    return _PLAIN_PATH.fullmatch(path) is not None
