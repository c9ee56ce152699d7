"""Category task: operation logs."""

from datetime import UTC, datetime

from emulator.backup_views import task_view
from emulator.errors import invalid, service_error
from emulator.fields import PAGING, JsonObject, q_text, q_word
from emulator.routing import Call, Route, page, visible
from emulator.tasks import Task

TYPES = (
    "backup", "copy", "replication", "restore", "delete", "sync", "vault_delete", "remove_resource",
    "migrate_resources",
)  # fmt: skip
STATUSES = ("success", "skipped", "failed", "running", "timeout", "waiting")


def moment(query: JsonObject, name: str, default: float) -> float:
    """Return a query time (`YYYY-MM-DDThh:mm:ssZ`) in seconds, or refuse it by its name."""
    if name not in query:
        return default
    try:
        parsed = datetime.fromisoformat(query[name])
    except ValueError:
        raise invalid(name, "must look like 2025-03-25T06:32:07Z") from None
    return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()


def _matches(task: Task, query: JsonObject) -> bool:
    resource = task.resource
    given = {
        "operation_type": task.type,
        "status": task.status,
        "vault_id": task.vault_id,
        "provider_id": task.provider_id,
        "resource_id": resource["id"],
    }
    fuzzy = {"vault_name": task.vault_name or "", "resource_name": resource["name"]}
    return all(query.get(name, value) == value for name, value in given.items()) and all(
        query.get(name, "") in value for name, value in fuzzy.items()
    )


def list_op_logs(call: Call) -> object:
    """Answer the newest first."""
    query = call.query
    since, until = moment(query, "start_time", 0.0), moment(query, "end_time", float("inf"))
    tasks = call.world.tasks
    own = [task for task in reversed(tasks.log.values()) if task.project_id == call.project_id]
    tasks.read(*(task.id for task in own if _matches(task, {**query, "status": task.status})))
    found = [task for task in visible(call, own) if since <= task.created_at <= until and _matches(task, query)]
    shown, totals = page(call, found)
    return {"operation_logs": [task_view(call.world, task) for task in shown], **totals}


def show_op_log(call: Call) -> object:
    """Answer one log; 6500 without it."""
    task_id = call.params["operation_log_id"]
    call.world.tasks.read(task_id)
    task = call.world.tasks.log.get(task_id)
    if task is None or task.project_id != call.project_id:
        raise service_error(6500, "Operation log does not exist.")
    return {"operation_log": task_view(call.world, task)}


LIST_QUERY = {
    **PAGING,
    "operation_type": q_word(*TYPES),
    "status": q_word(*STATUSES),
    "start_time": q_text,
    "end_time": q_text,
    "provider_id": q_text,
    "resource_id": q_text,
    "resource_name": q_text,
    "vault_id": q_text,
    "vault_name": q_text,
    "enterprise_project_id": q_text,
}

ROUTES = (
    Route("ListOpLogs", "GET", "/v3/{project_id}/operation-logs", list_op_logs, query=LIST_QUERY),
    Route("ShowOpLog", "GET", "/v3/{project_id}/operation-logs/{operation_log_id}", show_op_log),
)
