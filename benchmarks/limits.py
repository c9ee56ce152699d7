"""Limits as a platform with several tenants may have them, high enough to refuse nothing, and where
they are kept.
"""

from pathlib import Path
from typing import Any, Final

_LIMITS: Final = (
    {"metric": "requests", "level": "global", "per_second": 1e6, "burst": 1e6},
    {"metric": "requests", "level": "tenant", "per_second": 1e6, "burst": 1e6},
    {"metric": "concurrent_changes", "level": "tenant", "value": 10**6},
    {"metric": "vaults", "level": "tenant", "value": 10**9},
    {"metric": "capacity_gib", "level": "account", "value": 10**12},
)


def with_file(directory: Path) -> dict[str, Any]:
    """Sections of the configuration: kept in a file of the process."""
    return {
        "limits": list(_LIMITS),
        "state": {"kind": "sqlite", "path": str(directory / "state.db")},
    }


def with_valkey() -> dict[str, Any]:
    """As above, kept in the Valkey whose address is in the environment variable BENCH_VALKEY."""
    return {
        "limits": list(_LIMITS),
        "state": {"kind": "valkey", "url": {"env": "BENCH_VALKEY"}, "timeout_s": 5},
        # A store that is new lets nothing grow for as long as CBR may take to show what was sent.
        "quota": {"settle_s": 0.1},
    }
