"""Reads the lists of many projects: a few at once from each endpoint, whatever fails."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import structlog
from cbrgateway.v1 import errors_pb2, protection_pb2
from google.protobuf.message import Message
from msgspec import Struct, field

from gateway.errors import GatewayError
from gateway.protection.lists import WantedList
from gateway.upstream.reader import UpstreamReader, unlisted

AT_ONCE: Final = 8
"""Lists that are read at once from one endpoint, for all reports together."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ProjectRef(Struct, frozen=True):
    """A project, as callers name it. `key`: what the gateway calls the tenant's part of it."""

    key: str
    project: str
    region: str

    @property
    def is_shared(self) -> bool:
        """Whether only a part of the project is the tenant's."""
        return self.key != self.project


class View(Struct, frozen=True):
    """What CBR shows of a project. `lists`: by name; what could not be read is not among them."""

    ref: ProjectRef
    lists: Mapping[str, Sequence[Any]]
    problems: Sequence[protection_pb2.CoverageProblem] = ()

    def knows(self, name: str) -> bool:
        """Whether all of a list was read, so that what it does not show is not there."""
        return name in self.lists and all(problem.list != name for problem in self.problems)

    def rows(self, name: str) -> Sequence[Any]:
        """Empty, too, where the list could not be read."""
        return self.lists.get(name, ())


class Fleet(Struct):
    """One per process."""

    reader: UpstreamReader
    _permits: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def views(
        self, refs: Sequence[ProjectRef], wanted: Sequence[WantedList], within_s: float
    ) -> AsyncGenerator[View, None]:
        """Each project once, as soon as it is read. What does not answer in time is a problem."""
        end = asyncio.get_running_loop().time() + within_s
        reading = {asyncio.create_task(self._view(ref, wanted, end)): ref for ref in refs}
        try:
            for each in asyncio.as_completed(reading):
                yield await each
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _view(self, ref: ProjectRef, wanted: Sequence[WantedList], end: float) -> View:
        found = await asyncio.gather(*(self._list(ref, each, end) for each in wanted))
        problems = [problem for _, problem in found if problem is not None]
        lists = {
            each.name: rows
            for each, (rows, _) in zip(wanted, found, strict=True)
            if rows is not None
        }
        return View(ref, lists, problems)

    async def _list(
        self, ref: ProjectRef, wanted: WantedList, end: float
    ) -> tuple[Sequence[Message] | None, protection_pb2.CoverageProblem | None]:
        try:
            endpoint = self.reader.known(ref.key).endpoint
            permits = self._permits.setdefault(endpoint, asyncio.Semaphore(AT_ONCE))
            async with asyncio.timeout_at(end), permits:
                rows, whole = await self.reader.understood(wanted.request, wanted.row, ref.key)
        except TimeoutError:
            reason = errors_pb2.ERROR_REASON_DEADLINE_TOO_SHORT
            return None, _problem(wanted, reason, "It was not read in the time of the call.")
        except KeyError:
            text = "The project was taken out of the gateway's configuration just now."
            return None, _problem(wanted, errors_pb2.ERROR_REASON_PROJECT_DENIED, text)
        except GatewayError as error:
            if not error.expected:
                log.warning("a report leaves a list out", project=ref.project, error=str(error))
            return None, _problem(wanted, error.reason, unlisted(error))
        if whole:
            return rows, None
        text = "Some rows of CBR cannot be read and are left out; more in the gateway's log."
        return rows, _problem(wanted, errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)


def _problem(wanted: WantedList, reason: Any, text: str) -> protection_pb2.CoverageProblem:  # noqa: ANN401 - an enum
    return protection_pb2.CoverageProblem(list=wanted.name, reason=reason, message=text)
