"""What is about the account as a whole: features, projects, storage use, upgrades."""

from emulator import fields
from emulator.errors import ApiError, service_error
from emulator.fields import JsonObject, Need, q_boolean, q_integer, q_text, q_word
from emulator.model import BARE_METAL, SERVER
from emulator.routes.iam import project_view
from emulator.routes.protectables import other_regions
from emulator.routing import Call, Route
from emulator.settings import Account
from emulator.transitions import Mode


def _features(call: Call) -> JsonObject:
    regions = other_regions(call)
    return {
        "replication.enable": bool(regions),
        "replication.source_region": call.project.region,
        "replication.destination_regions": regions,
        "replication.destination_dgw_regions": [],
        "features.backup_double_az": False,
    }


def list_features(call: Call) -> object:
    """Answer a bare map."""
    return _features(call)


def show_feature(call: Call) -> object:
    """Answer a map of one; an unknown key is refused with a bare JSON string."""
    key, features = call.params["feature_key"], _features(call)
    if key not in features:
        raise ApiError(400, "feature key is not supported")
    return {key: features[key]}


def _account(call: Call, domain: str) -> Account:
    for account in call.world.settings.accounts:
        if domain in {account.domain_name, account.domain_id}:
            return account
    raise service_error(6704, "The account does not exist.")


def list_domain_projects(call: Call) -> object:
    """Answer the projects of any account by its name: where backups can be shared to."""
    account = _account(call, call.params["domain_name"])
    return {
        "projects": [
            {"project_id": project.id, "project_name": project.name} for project in account.projects
        ]
    }


def show_domain(call: Call) -> object:
    """Answer the account of a project."""
    project = call.world.projects.get(call.params["source_project_id"])
    if project is None:
        raise service_error(6704, "The project does not exist.")
    account = call.world.account_of[project.id]
    return {
        "domain_id": account.domain_id,
        "domain_name": account.domain_name,
        "project_id": project.id,
        "project_name": project.name,
    }


def list_projects(call: Call) -> object:
    """Answer the projects of the caller's account in all regions."""
    return {
        "projects": [project_view(call.account, project) for project in call.account.projects],
        "links": {"self": "https://iam.myhuaweicloud.com/v3/auth/projects"},
    }


def migrate_domain(call: Call) -> object:
    """Start the upgrade of the account; answer a map of its regions."""
    call.world.migrations[call.account.domain_id] = call.world.clock.now()
    regions = {project.region for project in call.account.projects}
    if not call.body["all_regions"]:
        regions = {call.project.region}
    return dict.fromkeys(sorted(regions), "running")


def show_migrate_status(call: Call) -> object:
    """Answer how far the upgrade is; it takes as long as a task."""
    started = call.world.migrations.get(call.account.domain_id)
    if started is None:
        raise service_error(4001, "The migration record does not exist.")
    pace = call.world.tasks.pace
    share = 1.0
    if pace.mode is Mode.TIME:
        share = min(1.0, (call.world.clock.now() - started) / max(1e-9, pace.duration_s))
    status = "success" if share >= 1.0 else "migrating"
    projects = call.account.projects if call.query.get("all_regions") else (call.project,)
    return {
        "status": status,
        "project_status": [
            {
                "status": status,
                "project_id": project.id,
                "project_name": project.name,
                "region_id": project.region,
                "progress": int(share * 100),
            }
            for project in projects
        ],
    }


def show_storage_usage(call: Call) -> object:
    """Answer one row per resource with backups; sizes in MB."""
    rows: dict[str, JsonObject] = {}
    for backup in call.world.backups.values():
        if backup.project_id != call.project_id or backup.parent_id is not None:
            continue
        row = rows.setdefault(
            backup.resource_id,
            {
                "resource_id": backup.resource_id,
                "resource_name": backup.resource_name,
                "resource_type": backup.resource_type,
                "backup_count": 0,
                "backup_size": 0,
                "backup_size_multiaz": 0,
            },
        )
        row["backup_count"] += 1
        row["backup_size"] += backup.size_mb
    names = ("resource_id", "resource_type")
    found = [
        row
        for row in rows.values()
        if all(call.query.get(name, row[name]) == row[name] for name in names)
    ]
    shown, count = call.world.paging.cut(
        found, call.query.get("limit", 1000), call.query.get("offset", 0)
    )
    return ({} if count is None else {"resource_count": count}) | {"storage_usage": shown}


MIGRATE_BODY = fields.record(
    all_regions=Need(fields.boolean), reservation=Need(fields.number(0, 1))
)
FEATURE_QUERY = {"limit": q_integer(1, 1000), "offset": q_integer(0, 1000)}
USAGE_QUERY = {
    "limit": q_integer(1),
    "offset": q_integer(0),
    "resource_id": q_text,
    "resource_type": q_word(SERVER, BARE_METAL),
}
FEATURES = "/v3/{project_id}/cbr-features"

ROUTES = (
    Route("ListFeatures", "GET", FEATURES, list_features, query=FEATURE_QUERY),
    Route("ShowFeature", "GET", FEATURES + "/{feature_key}", show_feature, query=FEATURE_QUERY),
    Route("ListDomainProjects", "GET", "/v3/domain/{domain_name}/projects", list_domain_projects),
    Route("ShowDomain", "GET", "/v3/domain/{source_project_id}", show_domain),
    Route("ListProjects", "GET", "/v3/region-projects", list_projects),
    Route("MigrateDomain", "POST", "/v3/migrates", migrate_domain, body=MIGRATE_BODY),
    Route(
        "ShowMigrateStatus",
        "GET",
        "/v3/migrates",
        show_migrate_status,
        query={"all_regions": q_boolean},
    ),
    Route(
        "ShowStorageUsage",
        "GET",
        "/v3/{project_id}/storage_usage",
        show_storage_usage,
        query=USAGE_QUERY,
    ),
)
