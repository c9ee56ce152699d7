"""The ids that completion was told a moment ago, so that the next Tab need not ask for them again.

A file for each gateway, caller, project and kind of object, which only its owner may read. A change
that is made by `cbrctl` has them forgotten.
"""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cbrctl.contexts import Context

Named = Sequence[tuple[str, str]]
"""Ids, each with a name or ''."""
_AGE_S: Final = 30


def ids(context: Context, group: str) -> Named | None:
    """None where they are to be asked for."""
    try:
        file = _folder(context) / group
        if not 0 <= time.time() - file.stat().st_mtime < _AGE_S:
            return None
        return [(str(own), str(name)) for own, name in json.loads(file.read_text("utf-8"))]
    except (OSError, ValueError, TypeError, RuntimeError):
        return None


def remember(context: Context, group: str, found: Named) -> None:
    """As far as it can be written: it is no more than a short cut."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        folder = _folder(context)
        folder.mkdir(0o700, parents=True, exist_ok=True)
        new = folder / f".{group}.{os.getpid()}"
        new.touch(0o600, exist_ok=False)
        new.write_text(json.dumps(found), "utf-8")
        new.replace(folder / group)


def forget(context: Context) -> None:
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        for file in _folder(context).iterdir():
            file.unlink()


def _folder(context: Context) -> Path:
    """Raises ValueError for a credential that cannot be sent, RuntimeError without a home."""
    from hashlib import blake2b

    who = f"{context.address}\n{context.project}\n{context.credential()}"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cbrctl" / blake2b(who.encode(), digest_size=16).hexdigest()
