"""Which counters of what exists there are, and which projects each adds up. Pure.

Every project is counted by itself, so that one that cannot be counted stands in nobody's way: in
what it shares with others stands its last count, or what the configuration assumes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field

from gateway.limits.limits import Limits, Scope, project_count
from gateway.reasons import Reason
from gateway.state import Total
from gateway.upstream.amounts import Metric


class Problem(Struct, frozen=True):
    """Why a project cannot be counted, in words for its owner; `since`: seconds since 1970 of the
    first failure in a row.
    """

    project: str
    reason: Reason
    message: str
    since: float


class Standing(Struct, frozen=True):
    """How far a counter is known.

    `counting`: it never was, and that is under way. `problems`: each with whether an earlier count
    stands in.

    `growth_at`: nothing may grow before, in seconds since 1970.
    """

    counting: bool
    problems: Sequence[tuple[Problem, bool]] = ()
    growth_at: float | None = None


class Counts(Struct, frozen=True):
    """The counters that limits are on, at one moment."""

    totals: Mapping[str, Total] = field(default_factory=dict)
    """Counter -> the counts of projects that it adds up; the only part of a project's is itself."""
    parts: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    """Project -> what is counted of it: counter -> metric."""
    project_of: Mapping[str, str] = field(default_factory=dict)
    """The count of a project -> the project."""
    metric_of: Mapping[str, Metric] = field(default_factory=dict)

    @classmethod
    def of(cls, limits: Limits, scopes: Sequence[Scope], assumed: Mapping[Metric, int]) -> "Counts":
        totals: dict[str, Total] = {}
        metric_of: dict[str, Metric] = {}
        project_of: dict[str, str] = {}
        parts: dict[str, dict[str, Metric]] = {}
        for metric, keys in limits.stock(scopes).items():
            for key, counting in keys.items():
                found = {project_count(metric, scope.project): scope.project for scope in counting}
                totals[key], metric_of[key] = Total(tuple(found), assumed.get(metric, 0)), metric
                project_of |= found
                for part, project in found.items():
                    parts.setdefault(project, {})[part] = metric
        return cls(totals, parts, project_of, metric_of)

    def own(self, keys: Iterable[str], project: str) -> set[str]:
        """The counts of a project that counters rest on."""
        return {
            project_count(self.metric_of[key], project) for key in keys if key in self.metric_of
        }

    def below(self, keys: Iterable[str]) -> set[str]:
        """The counts of all projects that counters add up."""
        return {part for key in keys if key in self.totals for part in self.totals[key].parts}

    def above(self, projects: Collection[str]) -> dict[str, Total]:
        """The counters that add up any of the projects with others."""
        changed = {part for project in projects for part in self.parts.get(project, ())}
        return {
            key: total
            for key, total in self.totals.items()
            if key not in self.project_of and not changed.isdisjoint(total.parts)
        }
