"""What `cbr-gateway dev` is asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Wanted:
    """Addresses are `host:port`; `admin` and `http` are None where the usual one is taken.

    `audit`: the directory of an audit log. `origins`: of pages that may call over HTTP.
    """

    listen: str
    health: str
    emulator: str
    admin: str | None
    http: str | None
    task_s: float
    log_level: str
    audit: Path | None
    origins: tuple[str, ...] = ()
