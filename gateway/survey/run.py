"""Makes the reads of a survey, one after the other, in a few projects of each region."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from gateway.config import Config
from gateway.errors import GatewayError
from gateway.operations import load_catalog
from gateway.reasons import reason_name
from gateway.rpc import validation
from gateway.survey.answers import Answer, Tap
from gateway.survey.projects import ProjectEntry, entries, reading
from gateway.survey.reads import Found, requests, wanting
from gateway.upstream.declaration import Binding
from gateway.upstream.flavors import Flavor
from gateway.upstream.reader import UpstreamReader

_PROJECTS: Final = 3
"""Of one region."""
_CALLS: Final = 12
"""Of one RPC in one project; a list takes a few requests to see its end."""
_KEPT: Final = 10
"""Answers of one RPC in one project."""


class Visit(Struct):
    """What one project's reads came to.

    `failed`, `unmade`: RPC -> why. `unreadable`: operation, message, key and problem -> how often.
    """

    flavor: Flavor
    answers: list[Answer] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unmade: dict[str, str] = field(default_factory=dict)
    unreadable: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def hear(self, answer: Answer) -> None:
        if (
            sum(known.binding is answer.binding for known in self.answers) < _KEPT
            and answer not in self.answers
        ):
            self.answers.append(answer)


async def survey(config: Config, within_s: float) -> list[Visit]:
    """One visit for each of a few projects of every region.

    Reads for which no time is left are among its `unmade`.
    """
    visits: list[Visit] = []

    def hear(answer: Answer) -> None:
        visits[-1].hear(answer)

    def drifted(operation: str, message: str, key: str, problem: str) -> None:
        if problem:
            visits[-1].unreadable[operation, message, key, problem] += 1

    catalog = load_catalog(on_drift=drifted)

    try:
        async with (
            asyncio.timeout(within_s),
            reading(config, catalog, lambda transport: Tap(transport, catalog, hear)) as reader,
        ):
            for entry in _chosen(entries(config)):
                visits.append(Visit(reader.known(entry.project).flavor))
                await _visit(reader, entry.project, visits[-1])
    except TimeoutError:
        for visit in visits[-1:]:
            called = {answer.binding.rpc for answer in visit.answers}
            visit.unmade |= {
                binding.rpc: "no time was left"
                for binding in _reads(catalog)
                if binding.rpc not in called | visit.unmade.keys()
            }
    return visits


def _chosen(everywhere: Iterable[ProjectEntry]) -> Iterable[ProjectEntry]:
    seen: Counter[str] = Counter()
    for entry in everywhere:
        seen[entry.region] += 1
        if seen[entry.region] <= _PROJECTS:
            yield entry


def _reads(catalog: Iterable[Binding]) -> list[Binding]:
    return [binding for binding in catalog if binding.reads and binding.path]


async def _visit(reader: UpstreamReader, project: str, visit: Visit) -> None:
    """First the reads that need no id, then, in rounds, those whose ids answers have brought."""
    found = Found(reader.catalog)
    left = [binding for binding in _reads(reader.catalog) if _there(binding, visit)]
    while ready := [binding for binding in left if not wanting(binding, found)]:
        left = [binding for binding in left if binding not in ready]
        heard = len(visit.answers)
        for binding in ready:
            await _read(reader, project, visit, binding, found)
        for answer in visit.answers[heard:]:
            found.learn(answer)
    visit.unmade |= {
        binding.rpc: f"needs {wanting(binding, found)}, which no answer has shown"
        for binding in left
    }


def _there(binding: Binding, visit: Visit) -> bool:
    try:
        visit.flavor.check(binding)
    except GatewayError as error:
        visit.unmade[binding.rpc] = error.message
        return False
    return True


async def _read(
    reader: UpstreamReader, project: str, visit: Visit, binding: Binding, found: Found
) -> None:
    for number, fields in enumerate(requests(binding, found)):
        if number == _CALLS:
            return
        try:
            request = binding.request_type(**fields)
            validation.parse(binding, request.SerializeToString())
        except GatewayError as error:
            visit.unmade[binding.rpc] = error.message
            return
        try:
            await reader.answer(request, binding.response_type, project)
        except GatewayError as error:
            visit.failed[binding.rpc] = reason_name(error.reason)
