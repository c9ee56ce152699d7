"""Every operation of the emulated API: one table per category, joined here."""

from emulator.routes import (
    account,
    agents,
    backups,
    checkpoints,
    iam,
    orders,
    organization,
    policies,
    protectables,
    replicas,
    shares,
    tags,
    tasks,
    vaults,
)
from emulator.routing import Answer, Call, Route


def show_versions(_call: Call) -> Answer:
    """Answer 300 with the versions of the API, as the service does at its root."""
    version = {"id": "v3", "status": "CURRENT", "links": [{"rel": "self", "href": "/v3"}]}
    return Answer(300, {"versions": [version]})


def all_routes() -> tuple[Route, ...]:
    """Return the whole table; the vendor's 74 operations, those of IAM and of the billing centre,
    and the version list.
    """
    return (
        Route("ShowVersions", "GET", "/", show_versions, public=True),
        *iam.ROUTES,
        *tasks.ROUTES,
        *protectables.ROUTES,
        *vaults.ROUTES,
        *tags.ROUTES,
        *orders.ROUTES,
        *checkpoints.ROUTES,
        *backups.ROUTES,
        *replicas.ROUTES,
        *shares.ROUTES,
        *policies.ROUTES,
        *organization.ROUTES,
        *agents.ROUTES,
        *account.ROUTES,
    )
