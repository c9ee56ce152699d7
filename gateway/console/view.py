"""One process as the console sees it: what it can show, and whom it lets look.

All of it is asked for in threads; what is asked and answered are plain values, which may go to
another process and come from there.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.console.admission import Admission, Visitor
from gateway.console.audit_page import audit
from gateway.console.calls import Calls
from gateway.console.facts import Facts
from gateway.console.limit_pages import changes, limits
from gateway.console.look import Look, TaskRows, look
from gateway.console.page import Asked, Page
from gateway.console.pages import task_rows, vaults


class Views(Protocol):
    """One process, or several together. Each method raises Refused where nobody answers it."""

    def looks(self) -> Sequence[Look]:
        """At each process."""
        ...

    def tasks(self, asked: Asked) -> Sequence[TaskRows]:
        """Of each process; those of a project are in one of them only."""
        ...

    def vaults(self, asked: Asked) -> Page: ...

    def limits(self, asked: Asked, visitor: Visitor) -> Page: ...

    def changes(self, asked: Asked, visitor: Visitor) -> Page: ...

    def audit(self, asked: Asked) -> Page: ...

    def enter(self, page: str, visitor: Visitor) -> str:
        """The name of somebody who looks at a page. Raises Refused."""
        ...

    def still(self, visitor: Visitor) -> None:
        """Raises Refused for one whose key holds no more."""
        ...


@dataclass(frozen=True, slots=True)
class View(Views):
    """One process."""

    facts: Facts
    calls: Calls
    admission: Admission

    def looks(self) -> Sequence[Look]:
        return [look(self.facts)]

    def tasks(self, asked: Asked, projects: Collection[str] | None = None) -> Sequence[TaskRows]:
        """None: of all projects."""
        pollers = self.facts.pollers()
        if projects is not None:
            pollers = [each for each in pollers if each.project in projects]
        return [task_rows(pollers, asked)]

    def vaults(self, asked: Asked) -> Page:
        return vaults(self.facts, asked)

    def limits(self, asked: Asked, visitor: Visitor) -> Page:
        return limits(self.calls, asked, visitor)

    def changes(self, asked: Asked, visitor: Visitor) -> Page:
        return changes(self.calls, asked, visitor)

    def audit(self, asked: Asked) -> Page:
        return audit(self.facts.audit, asked)

    def enter(self, page: str, visitor: Visitor) -> str:
        return self.admission.enter(page, visitor)

    def still(self, visitor: Visitor) -> None:
        self.admission.still(visitor)
