"""How many processors this process may use."""

import os
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """Those that the system gives it, and in a container no more than its limit, rounded up."""
    cores = len(os.sched_getaffinity(0))
    try:
        allowed, period = quota.read_text().split()
        limit = -(-int(allowed) // int(period))
    except (OSError, ValueError):
        return cores
    return max(1, min(cores, limit))
