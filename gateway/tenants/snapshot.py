"""Everything about tenants that one call needs, from one configuration.

A call keeps the snapshot that it began with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.tenants.directory import TenantDirectory
from gateway.tenants.seat import Seat
from gateway.upstream.account import Account


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Who may call, and the way into each of their projects.

    `version` is a hash of every setting in effect, without secrets.
    """

    version: str
    tenants: int
    directory: TenantDirectory
    accounts: Mapping[str, Account]
    """By `Project.key`."""
    seats: dict[tuple[str | bytes, ...], Seat] = field(
        default_factory=dict, compare=False, repr=False
    )
    """Those that calls have had: by the tenant, the principal, and the project as calls name it."""


class Current:
    """The snapshot that new calls begin with. Replaced whole, by one assignment."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
