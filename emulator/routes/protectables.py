"""Category protectability: what can be protected, whether its agent runs, where replicas can go."""

from emulator import fields
from emulator.errors import invalid, service_error
from emulator.fields import PAGING, Need, q_text
from emulator.model import BARE_METAL, SERVER, Protectable
from emulator.routing import Call, Route, only_count, page
from emulator.views import protectable_view

KINDS = {
    "server": "server",
    "disk": "disk",
    "turbo": "turbo",
    "workspace": "workspace",
    "workspace_v2": "workspace",
}
NOT_FOUND = {
    "server": (7100, "The server does not exist."),
    "disk": (7000, "The disk does not exist."),
}


def _kind(call: Call) -> str:
    try:
        return KINDS[call.params["protectable_type"]]
    except KeyError:
        raise invalid("protectable_type") from None


def list_protectable(call: Call) -> object:
    """Answer resources of one type; disks of servers are found under `disk` too."""
    query, kind = call.query, _kind(call)
    wanted_id = query.get("id")
    server = call.world.protectables.get(query.get("server_id", ""))
    inside = {child.id for child in server.children} if server is not None else set()

    def matches(item: Protectable) -> bool:
        return (
            item.project_id == call.project_id
            and item.kind == kind
            and query.get("name", "") in item.name
            and query.get("status", item.status).lower() == item.status.lower()
            and wanted_id in {None, item.id}
            and ("server_id" not in query or item.id in inside)
        )

    shown, totals = page(
        call, [item for item in call.world.protectables.values() if matches(item)], marker=True
    )
    return {
        "instances": [protectable_view(call.world, item) for item in shown],
        **only_count(totals),
    }


def show_protectable(call: Call) -> object:
    """Answer one resource; 7100, 7000 or 6302 without it."""
    kind, wanted = _kind(call), call.params["instance_id"]
    item = call.world.protectables.get(wanted)
    if item is None or item.project_id != call.project_id or item.kind != kind:
        raise service_error(*NOT_FOUND.get(kind, (6302, f"The resource {wanted} does not exist.")))
    return {"instance": protectable_view(call.world, item)}


def show_replication_capabilities(call: Call) -> object:
    """Answer, for the caller's region, all others in which the emulator has projects."""
    return {
        "regions": [{"name": call.project.region, "replication_destinations": other_regions(call)}]
    }


def other_regions(call: Call) -> list[str]:
    """Return the regions a backup of this project can be replicated to."""
    regions = dict.fromkeys(project.region for project in call.world.projects.values())
    return [region for region in regions if region != call.project.region]


def check_agent(call: Call) -> object:
    """Answer for each asked server whether the agent is installed."""
    statuses = []
    for asked in call.body["agent_status"]:
        item = call.world.protectables.get(asked["resource_id"])
        installed = item is not None and item.project_id == call.project_id and item.agent_installed
        statuses.append(
            {
                "resource_id": asked["resource_id"],
                "installed": installed,
                "is_old": False if installed else None,
                "version": "1.2.3" if installed else None,
                "code": None,
                "message": None,
            }
        )
    return {"agent_status": statuses}


CHECK_BODY = fields.record(
    agent_status=Need(
        fields.many(
            fields.record(
                resource_id=Need(fields.text(1)),
                resource_name=fields.text(),
                resource_type=Need(fields.word(SERVER, BARE_METAL)),
            )
        )
    )
)
LIST_QUERY = {
    **PAGING,
    "name": q_text,
    "status": q_text,
    "id": q_text,
    "server_id": q_text,
}
INSTANCES = "/v3/{project_id}/protectables/{protectable_type}/instances"

ROUTES = (
    Route("ListProtectable", "GET", INSTANCES, list_protectable, query=LIST_QUERY),
    Route("ShowProtectable", "GET", INSTANCES + "/{instance_id}", show_protectable),
    Route(
        "CheckAgent",
        "POST",
        "/v3/{project_id}/agent/check",
        check_agent,
        body=CHECK_BODY,
        mutates=False,
    ),
    Route(
        "ShowReplicationCapabilities",
        "GET",
        "/v3/{project_id}/replication-capabilities",
        show_replication_capabilities,
    ),
)
