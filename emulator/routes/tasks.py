"""Category task: operation logs."""

from collections.abc import Callable, Iterable
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


EXACT: dict[str, Callable[[Task], object]] = {
    "operation_type": lambda task: task.type,
    "status": lambda task: task.status,
    "vault_id": lambda task: task.vault_id,
    "provider_id": lambda task: task.provider_id,
    "resource_id": lambda task: task.resource["id"],
}
FUZZY: dict[str, Callable[[Task], str]] = {
    "vault_name": lambda task: task.vault_name or "",
    "resource_name": lambda task: task.resource["name"],
}


def _select(tasks: Iterable[Task], query: JsonObject) -> list[Task]:
    exact = [(read, query[name]) for name, read in EXACT.items() if name in query]
    fuzzy = [(read, query[name]) for name, read in FUZZY.items() if name in query]
    since, until = moment(query, "start_time", 0.0), moment(query, "end_time", float("inf"))
    eps = query.get("enterprise_project_id", "all_granted_eps")
    return [
        task
        for task in tasks
        if since <= task.created_at <= until
        and eps in {"all_granted_eps", task.enterprise_project_id}
        and all(read(task) == value for read, value in exact)
        and all(value in read(task) for read, value in fuzzy)
    ]


def list_op_logs(call: Call) -> object:
    """Answer the newest first."""
    tasks = call.world.tasks
    own = [task for task in reversed(tasks.log.values()) if task.project_id == call.project_id]
    if tasks.counts_reads:
        any_status = {name: value for name, value in call.query.items() if name != "status"}
        tasks.read(*(task.id for task in _select(own, any_status)))
    shown, totals = page(call, _select(visible(call, own), call.query))
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
