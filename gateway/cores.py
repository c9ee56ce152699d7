"""How many processors this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_SYSTEM: Final = Path("/")


def usable_cores(system: Path = _SYSTEM) -> int:
    """Those that the system gives it, and no more than the limits of its control groups (of its
    container, or of its unit of systemd), rounded up.
    """
    limits = [-(-quota // period) for quota, period in _quotas(system) if quota > 0 and period > 0]
    return max(1, min([len(os.sched_getaffinity(0)), *limits]))


def _quotas(system: Path) -> Iterator[tuple[int, int]]:
    """Of the groups that it is in, and of those around them: microseconds of CPU in so many."""
    for group in _groups(system / "proc/self/cgroup"):
        for file in ("cpu.max", "cpu.cfs_quota_us"):
            try:
                quota, *period = (system / group / file).read_text(encoding="ascii").split()
                if not period:
                    period = [(system / group / "cpu.cfs_period_us").read_text(encoding="ascii")]
                yield int(quota), int(period[0])
            except (OSError, ValueError):
                # No such file, or `max`.
                continue


def _groups(file: Path) -> Iterator[PurePosixPath]:
    """The folders of version 2, and of the controller `cpu` of version 1."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = PurePosixPath("sys/fs/cgroup", "cpu" if controllers else "")
        own = root / path.lstrip("/")
        # In a container the path may be that on its host, and only the root be there.
        yield from dict.fromkeys((own, *(up for up in own.parents if up.is_relative_to(root))))
