"""The pages of what processes have in memory: how they are, tasks, vaults."""

import heapq
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from cbrgateway.v1 import task_pb2

from gateway.console.facts import Facts, Status, VaultFacts
from gateway.console.look import Endpoint, Look, Polled, TaskRows
from gateway.console.page import (
    BAD,
    GOOD,
    ROWS,
    WARN,
    Asked,
    Cell,
    Page,
    Table,
    age,
    fitting,
    listed,
    paged,
    search,
    when,
)
from gateway.watch.poller import Poller
from gateway.watch.row import Row

_DAY_S: Final = 86_400
_MIB_PER_GIB: Final = 1024
_TASK_HEAD: Final = (
    "state",
    "progress",
    "type",
    "project",
    "vault",
    "resource",
    "begun",
    "ended",
    "task",
)
_KINDS: Final = {
    task_pb2.TASK_STATUS_SUCCEEDED: GOOD,
    task_pb2.TASK_STATUS_SKIPPED: WARN,
    task_pb2.TASK_STATUS_FAILED: BAD,
    task_pb2.TASK_STATUS_TIMED_OUT: BAD,
}


def overview(status: Status, looks: Sequence[Look]) -> Page:
    """How the gateway is, and how CBR answers it. `looks`: at each of its processes."""
    checks = [
        [Cell(name), Cell("ok", GOOD) if each.good else Cell("failed", BAD), Cell(each.text)]
        for name, each in status.checks().items()
    ]
    parts = sum(each.parts_open for each in looks)
    note = f"{parts} breakers of single operations or objects are open" if parts else ""
    polled = {project: looks[at].polled[project] for project, at in readers(looks).items()}
    return Page(
        "Overview",
        [
            Table("This gateway", ("check", "state", ""), checks, "no checks"),
            Table(
                "CBR's endpoints",
                ("endpoint", "region", "level", "traffic", "breaker"),
                list(_endpoints(looks)),
                "CBR was not called yet",
                note,
            ),
            Table(
                "Projects that are polled",
                ("project", "tenant", "region", "tasks under way", "last read", ""),
                [_project(name, each) for name, each in sorted(polled.items())],
                "no project is polled now",
            ),
        ],
        notices=[
            Cell(f"Configuration {status.configuration()}"),
            *(Cell(f"Not taken over: {each}", BAD) for each in status.problems()),
        ],
    )


def readers(looks: Sequence[Look]) -> dict[str, int]:
    """Which of them has read each project last."""
    found: dict[str, int] = {}
    for at, look in enumerate(looks):
        for project, polled in look.polled.items():
            before = found.get(project)
            if before is None or looks[before].polled[project].read_at < polled.read_at:
                found[project] = at
    return found


def _endpoints(looks: Sequence[Look]) -> Iterator[list[Cell]]:
    """A breaker is each process's own."""
    found: dict[Endpoint, list[bool]] = {}
    for look in looks:
        for endpoint, is_open in look.endpoints.items():
            found.setdefault(endpoint, []).append(is_open)
    for each, states in found.items():
        text = "open: calls are held back"
        if not all(states):
            text += f" by {sum(states)} of {len(states)} workers"
        state = Cell(text, BAD) if any(states) else Cell("closed", GOOD)
        yield [*map(Cell, (each.endpoint, each.region, each.level, each.traffic)), state]


def _project(name: str, polled: Polled) -> list[Cell]:
    since_s = time.monotonic() - polled.read_at
    return [
        Cell(name),
        Cell(polled.tenant),
        Cell(polled.region),
        Cell(str(polled.under_way)),
        Cell(f"{age(since_s)} ago") if polled.answered else Cell("never", WARN),
        Cell(polled.failure, BAD) if polled.failure else Cell("ok", GOOD),
    ]


def tasks(parts: Sequence[TaskRows], asked: Asked) -> Page:
    """Tasks of all projects that are polled: those under way first, then the newest. `parts`: of
    each process, in that order.
    """
    merged = heapq.merge(*(each.rows for each in parts), key=lambda row: row[0])
    rows = [cells for _, cells in islice(merged, asked.first, asked.first + ROWS)]
    total = sum(each.total for each in parts)
    shown = paged("Under way first, then the newest", _TASK_HEAD, rows, total, asked)
    return Page("Tasks", [shown], [search(asked)])


def task_rows(pollers: Sequence[Poller], asked: Asked) -> TaskRows:
    """Of one process, as far as the page that is asked for goes."""
    found = [(each.project, row) for each in pollers for row in list(each.table.rows.values())]
    found.sort(key=_order)
    fit = fitting(found, _task, asked)
    return TaskRows(len(fit), [(_order(each), _task(each)) for each in fit[: asked.first + ROWS]])


def _order(found: tuple[str, Row]) -> tuple[bool, int]:
    _, row = found
    return row.final, -row.created_us


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
