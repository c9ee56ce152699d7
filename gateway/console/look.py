"""What one process tells of itself, as plain values: they may go to another one, which puts what
several tell together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.console.facts import Facts, ProjectFacts
from gateway.console.page import Cell
from gateway.watch.poller import Poller


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A breaker of a whole host."""

    endpoint: str
    region: str
    level: str
    traffic: str


@dataclass(frozen=True, slots=True)
class Polled:
    """A project. `read_at`: by the clock that counts since the start of the machine; `failure`:
    why it could not be read, empty where it could.
    """

    tenant: str
    region: str
    under_way: int
    answered: bool
    read_at: float
    failure: str


@dataclass(frozen=True, slots=True)
class Look:
    """`endpoints`: whether each is open; `parts_open`: breakers of parts of hosts; `polled`: by the
    keys of projects.
    """

    endpoints: Mapping[Endpoint, bool]
    parts_open: int
    polled: Mapping[str, Polled]


@dataclass(frozen=True, slots=True)
class TaskRows:
    """`total`: how many fit; `rows`: the first of them, each with its place in the order."""

    total: int
    rows: Sequence[tuple[tuple[bool, int], Sequence[Cell]]]


def look(facts: Facts) -> Look:
    projects = facts.projects()
    regions = _regions(projects)
    endpoints = {
        Endpoint(endpoint, regions.get(endpoint, ""), level.value, traffic): is_open
        for level, endpoint, traffic, is_open in facts.breakers.wide()
    }
    polled = {each.project: _polled(each, projects.get(each.project)) for each in facts.pollers()}
    return Look(endpoints, len(facts.breakers.narrow_open()), polled)


def _regions(projects: Mapping[str, ProjectFacts]) -> dict[str, str]:
    """By endpoint."""
    found: dict[str, set[str]] = {}
    for each in projects.values():
        found.setdefault(each.endpoint, set()).add(each.region)
    return {endpoint: ", ".join(sorted(names)) for endpoint, names in found.items()}


def _polled(poller: Poller, known: ProjectFacts | None) -> Polled:
    failure = poller.failure
    return Polled(
        known.tenant if known is not None else "",
        known.region if known is not None else "",
        len(poller.table.open),
        poller.answered,
        poller.read_at,
        failure.message if failure is not None else "",
    )
