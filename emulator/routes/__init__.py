"""Every operation of the emulated API: one table per category, joined here."""

from emulator.routes import backups, checkpoints, iam, protectables, tasks, vaults
from emulator.routing import Route


def all_routes() -> tuple[Route, ...]:
    """Return the whole table."""
    return (
        *iam.ROUTES,
        *tasks.ROUTES,
        *protectables.ROUTES,
        *vaults.ROUTES,
        *checkpoints.ROUTES,
        *backups.ROUTES,
    )
