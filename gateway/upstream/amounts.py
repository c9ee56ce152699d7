"""What limits are on, and by how much one change lets it grow.

Values only; what applies to whom is `limits`' to know.
"""

from enum import StrEnum

from msgspec import Struct


class Metric(StrEnum):
    """What a limit limits."""

    REQUESTS = "requests"
    CONCURRENT_CHANGES = "concurrent_changes"
    CONCURRENT_RESTORES = "concurrent_restores"
    VAULTS = "vaults"
    POLICIES = "policies"
    MEMBERS_PER_BACKUP = "members_per_backup"
    CAPACITY_GIB = "capacity_gib"
    GROWTH_GIB_PER_DAY = "growth_gib_per_day"
    CHECKPOINTS_PER_DAY = "checkpoints_per_day"
    REPLICATIONS_PER_DAY = "replications_per_day"
    OPEN_STREAMS = "open_streams"


class ResourceDelta(Struct, frozen=True):
    """An amount of one metric, negative for what is given back.

    `part`: the backup that members are counted for.
    """

    metric: Metric
    amount: int
    part: str = ""


class Resize(Struct, frozen=True):
    """The size that a change gives a vault; None: it leaves the size as it is."""

    vault_id: str
    size_gib: int | None


class Sharing(Struct, frozen=True):
    """Projects that a change shares a backup with, and those that it takes it from.

    `accounts`: it names accounts, whose projects nobody knows.
    """

    backup_id: str
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    accounts: bool = False
