"""Filters that no event can fit. Whoever sets one waits for something that never comes."""

from collections.abc import Iterator, Sequence

from gateway.events.types import IN_PROJECTS, OUTCOMES


def never_met(
    types: Sequence[str], outcomes: Sequence[str], *, in_projects: bool = False
) -> Iterator[tuple[str, int, str]]:
    """Types and outcomes of which no event fits the rest of the filter: in which list, at which
    place, and what to do. What is no type or outcome is passed over.

    `in_projects`: whether the filter names projects, too.
    """
    kinds = {kind: has for kind, has in OUTCOMES.items() if not in_projects or kind in IN_PROJECTS}
    asked = [kind for kind in types if kind in OUTCOMES]
    wanted = {outcome for has in OUTCOMES.values() for outcome in has}.intersection(outcomes)
    for i, kind in enumerate(types):
        if kind not in OUTCOMES:
            continue
        if kind not in kinds:
            yield "types", i, "has events without a project only. Remove the type, or the projects"
        elif wanted and wanted.isdisjoint(kinds[kind]):
            some = ", ".join(sorted(kinds[kind]))
            text = f"has none of the outcomes. Add one to outcomes ({some}), or remove the type"
            yield "types", i, text
    for i, outcome in enumerate(outcomes):
        having = [kind for kind, has in kinds.items() if outcome in has]
        if outcome not in wanted or any(kind in having for kind in asked):
            continue
        if not having:
            text = "is of events without a project only. Remove the outcome, or the projects"
            yield "outcomes", i, text
        elif asked:
            text = f"is of none of the types. Add {having[0]} to types, or remove the outcome"
            yield "outcomes", i, text
