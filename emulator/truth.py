"""The truth log: what really arrived here and what really happened, whatever the client was told.

One entry per request outside `/_emulator`, in order of arrival, kept without secrets. An entry is
open (no status, no `replied_at`) until the request is over; a request that never got an answer ends
with status null and `replied_at` set.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SECRETS = frozenset({"authorization", "x-auth-token", "x-security-token", "x-subject-token"})


@dataclass(slots=True)
class Entry:
    """One request. Times are wall-clock seconds since 1970."""

    seq: int
    arrived_at: float
    method: str
    target: str
    """Path and query exactly as sent."""
    headers: dict[str, str]
    body: str
    operation: str | None = None
    project_id: str | None = None
    request_id: str = ""
    faults: list[str] = field(default_factory=list)
    committed: bool = False
    """Whether the request changed the state."""
    status: int | None = None
    reply: Any = None
    """JSON of the answer to a request that changed the state, even if it was never sent."""
    replied_at: float | None = None


class TruthLog:
    """Append-only, bounded; `seq` starts at 1 and never repeats, not even after `clear`."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._seq = 0

    def open(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Entry:
        """Record the arrival of a request."""
        self._seq += 1
        entry = Entry(
            seq=self._seq,
            arrived_at=time.time(),
            method=method,
            target=target,
            headers={name: value for name, value in headers.items() if name not in SECRETS},
            body=body.decode("utf-8", "replace"),
        )
        self._entries.append(entry)
        return entry

    def entries(self, since: int = 0) -> list[Entry]:
        """Return the entries with `seq` above `since`, oldest first."""
        return [entry for entry in self._entries if entry.seq > since]

    def clear(self) -> None:
        """Forget all entries."""
        self._entries.clear()


def entry_view(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON."""
    return asdict(entry)
