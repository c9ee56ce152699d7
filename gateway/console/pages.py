"""The pages of what this process has in memory: how it is, tasks, vaults."""

import time
from typing import Final

from cbrgateway.v1 import task_pb2

from gateway.console.facts import Facts, ProjectFacts, VaultFacts
from gateway.console.page import (
    BAD,
    GOOD,
    WARN,
    Asked,
    Cell,
    Page,
    Table,
    age,
    listed,
    search,
    when,
)
from gateway.watch.poller import Poller
from gateway.watch.row import Row

_DAY_S: Final = 86_400
_MIB_PER_GIB: Final = 1024
_KINDS: Final = {
    task_pb2.TASK_STATUS_SUCCEEDED: GOOD,
    task_pb2.TASK_STATUS_SKIPPED: WARN,
    task_pb2.TASK_STATUS_FAILED: BAD,
    task_pb2.TASK_STATUS_TIMED_OUT: BAD,
}


def overview(facts: Facts) -> Page:
    """How the process is, and how CBR answers it."""
    projects = facts.projects()
    checks = [
        [Cell(name), Cell("ok", GOOD) if each.good else Cell("failed", BAD), Cell(each.text)]
        for name, each in facts.checks().items()
    ]
    parts = len(facts.breakers.narrow_open())
    note = f"{parts} breakers of single operations or objects are open" if parts else ""
    return Page(
        "Overview",
        [
            Table("This process", ("check", "state", ""), checks, "no checks"),
            Table(
                "CBR's endpoints",
                ("endpoint", "region", "level", "traffic", "breaker"),
                _endpoints(facts),
                "CBR was not called yet",
                note,
            ),
            Table(
                "Projects that are polled",
                ("project", "tenant", "region", "tasks under way", "last read", ""),
                [_project(each, projects.get(each.project)) for each in facts.pollers()],
                "no project is polled now",
            ),
        ],
        notices=[
            Cell(f"Configuration {facts.configuration()}"),
            *(Cell(f"Not taken over: {each}", BAD) for each in facts.problems()),
        ],
    )


def _endpoints(facts: Facts) -> list[list[Cell]]:
    regions = _regions(facts)
    return [
        [
            Cell(endpoint),
            Cell(regions.get(endpoint, "")),
            Cell(level.value),
            Cell(traffic),
            Cell("open: calls are held back", BAD) if is_open else Cell("closed", GOOD),
        ]
        for level, endpoint, traffic, is_open in facts.breakers.wide()
    ]


def _regions(facts: Facts) -> dict[str, str]:
    """By endpoint."""
    found: dict[str, set[str]] = {}
    for each in facts.projects().values():
        found.setdefault(each.endpoint, set()).add(each.region)
    return {endpoint: ", ".join(sorted(names)) for endpoint, names in found.items()}


def _project(poller: Poller, known: ProjectFacts | None) -> list[Cell]:
    since_s = time.monotonic() - poller.read_at
    failure = poller.failure
    return [
        Cell(poller.project),
        Cell(known.tenant if known is not None else ""),
        Cell(known.region if known is not None else ""),
        Cell(str(len(poller.table.open))),
        Cell(f"{age(since_s)} ago") if poller.answered else Cell("never", WARN),
        Cell(failure.message, BAD) if failure is not None else Cell("ok", GOOD),
    ]


def tasks(facts: Facts, asked: Asked) -> Page:
    """Tasks of all projects that are polled: those under way first, then the newest."""
    found = [
        (each.project, row) for each in facts.pollers() for row in list(each.table.rows.values())
    ]
    found.sort(key=lambda each: (each[1].final, -each[1].created_us))
    head = ("state", "progress", "type", "project", "vault", "resource", "begun", "ended", "task")
    shown = listed("Under way first, then the newest", head, found, _task, asked)
    return Page("Tasks", [shown], [search(asked)])


def _task(found: tuple[str, Row]) -> list[Cell]:
    project, row = found
    task, resource = row.task, row.task.details.resource
    percent = task.details.common.progress_percent
    state = task_pb2.TaskStatus.Name(task.status).removeprefix("TASK_STATUS_").lower()
    failed = f": {task.failure.message}" if task.failure.message else ""
    return [
        Cell(state + failed, _KINDS.get(task.status, "")),
        Cell("") if row.final else Cell(f"{percent} %", percent=percent),
        Cell(task_pb2.TaskType.Name(task.type).removeprefix("TASK_TYPE_").lower()),
        Cell(project),
        Cell(task.vault_name or task.vault_id),
        Cell(resource.name or resource.id),
        Cell(when(row.created_us / 1e6)),
        Cell(when(task.end_time.ToNanoseconds() / 1e9)),
        Cell(task.id),
    ]


def vaults(facts: Facts, asked: Asked) -> Page:
    """Vaults with their last success, those without one for longest first."""
    if facts.vaults is None:
        told = "Vaults are not read: `metrics.enabled` is off, or `metrics.max_vaults` is 0."
        return Page("Vaults", [], notices=[Cell(told, WARN)])
    known = sorted(facts.vaults(), key=lambda each: (not each.scheduled, each.succeeded_at))
    head = (
        "last success",
        "gap",
        "schedule",
        "vault",
        "project",
        "used",
        "resources",
        "as of",
        "id",
    )
    told = "Read every few minutes, and first a minute after the start."
    shown = listed("Without a success for longest first", head, known, _vault, asked)
    return Page("Vaults", [shown], [search(asked)], notices=[Cell(told)])


def _vault(each: VaultFacts) -> list[Cell]:
    vault, billing = each.vault, each.vault.billing
    gap_s = time.time() - (each.succeeded_at or vault.create_time.seconds)
    late = each.scheduled and gap_s > _DAY_S
    gap = f"{age(gap_s)}{', more than a day' if late else ''}"
    share = billing.used_mib * 100 // (billing.size_gib * _MIB_PER_GIB) if billing.size_gib else 0
    return [
        Cell(when(each.succeeded_at) or "none known", "" if each.succeeded_at else WARN),
        Cell(gap, BAD if late else ""),
        Cell("on" if each.scheduled else "none", "" if each.scheduled else WARN),
        Cell(vault.name),
        Cell(each.project),
        Cell(f"{share} % of {billing.size_gib} GiB", percent=min(share, 100)),
        Cell(str(len(vault.resources))),
        Cell(when(each.read_at)),
        Cell(vault.id),
    ]
