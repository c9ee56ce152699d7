"""The console of several workers, on the port of their parent: what it shows is asked of them."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct

from gateway.admin.probes import Finding
from gateway.background import on_loop
from gateway.console.admission import Refused, Visitor
from gateway.console.console import Console
from gateway.console.facts import Status
from gateway.console.look import Look, TaskRows
from gateway.console.page import Asked, Page
from gateway.console.pages import readers
from gateway.console.view import View, Views
from gateway.workers.crew import Crew
from gateway.workers.link import Gone
from gateway.workers.place import Place
from gateway.workers.reading import Reading

_WITHIN_S: Final = 20.0
"""More than any page takes at a worker."""


class NotShown(Struct, frozen=True):
    """What a worker answers in place of raising Refused."""

    status: HTTPStatus
    text: str


def answered(view: View, name: str, given: Sequence[Any]) -> Any:  # noqa: ANN401 - each has its own
    """What a worker's view answers; in a thread."""
    try:
        return getattr(view, name)(*given)
    except Refused as refused:
        return NotShown(refused.status, str(refused))


@dataclass(frozen=True, slots=True)
class ViewsOfWorkers(Views):
    """Asked in threads. `loop`: the parent's."""

    crew: Crew
    loop: asyncio.AbstractEventLoop

    def looks(self) -> Sequence[Look]:
        return [look for _, look in self._looks()]

    def tasks(self, asked: Asked) -> Sequence[TaskRows]:
        found = self._looks()
        wanted: dict[int, set[str]] = {}
        for project, at in readers([look for _, look in found]).items():
            wanted.setdefault(at, set()).add(project)
        return [
            rows
            for at, projects in wanted.items()
            for rows in self._asked(found[at][0], "tasks", asked, projects)
        ]

    def vaults(self, asked: Asked) -> Page:
        """The first worker alone reads them."""
        page: Page = self._asked(self.crew.places[0], "vaults", asked)
        return page

    def limits(self, asked: Asked, visitor: Visitor) -> Page:
        page: Page = self._any("limits", asked, visitor)
        return page

    def changes(self, asked: Asked, visitor: Visitor) -> Page:
        page: Page = self._any("changes", asked, visitor)
        return page

    def audit(self, asked: Asked) -> Page:
        page: Page = self._any("audit", asked)
        return page

    def enter(self, page: str, visitor: Visitor) -> str:
        name: str = self._any("enter", page, visitor)
        return name

    def still(self, visitor: Visitor) -> None:
        self._any("still", visitor)

    def _looks(self) -> list[tuple[Place, Look]]:
        """At those that answer."""
        found: list[tuple[Place, Look]] = []
        for place in self.crew.taking:
            with contextlib.suppress(Refused):
                found += [(place, look) for look in self._asked(place, "looks")]
        return found

    def _any(self, name: str, *given: object) -> Any:  # noqa: ANN401 - as above
        places = self.crew.taking
        if not places:
            raise _nobody()
        return self._asked(places[0], name, *given)

    def _asked(self, place: Place, name: str, *given: object) -> Any:  # noqa: ANN401 - as above
        """Raises Refused."""
        try:
            answer = on_loop(self.loop, place.ask("view", name, given), _WITHIN_S)
        except (Gone, TimeoutError):
            raise _nobody() from None
        if isinstance(answer, NotShown):
            raise Refused(answer.status, answer.text)
        return answer


def _nobody() -> Refused:
    text = "A worker that this page needs does not answer now; reload the page."
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, text)


def console(crew: Crew, reading: Reading, checks: Callable[[], Mapping[str, Finding]]) -> Console:
    """Called on the parent's event loop."""
    status = Status(checks, lambda: reading.version, lambda: reading.problems)
    return Console(status, ViewsOfWorkers(crew, asyncio.get_running_loop()))
