"""The console as WSGI applications, one for each address."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlencode
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from jinja2 import Environment, PackageLoader, StrictUndefined

from gateway.console.admission import Refused, Visitor, visitor_of
from gateway.console.facts import Status
from gateway.console.http import ANOTHER, HTML, elsewhere, file, refusal, whole
from gateway.console.live import Live
from gateway.console.page import Asked, Page
from gateway.console.pages import overview, tasks
from gateway.console.view import Views

ROOT: Final = "/console"
_FILES: Final = {"console.css": "text/css", "console.js": "text/javascript"}
_LIVE: Final = frozenset({"overview", "tasks", "vaults"})
"""What is in memory."""
Make = Callable[[Asked, Visitor], Page]


def _templates() -> Environment:
    loader = PackageLoader("gateway.console")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


@dataclass(frozen=True, slots=True)
class Console:
    status: Status
    views: Views
    _live: Live = field(default_factory=Live)
    _templates: Environment = field(default_factory=_templates)

    def routes(self) -> dict[str, WSGIApplication]:
        """By path."""
        pages = self._pages()
        found = {f"{ROOT}/{name}": self._page(name, make) for name, make in pages.items()}
        found |= {f"{ROOT}/{name}/live": self._changing(name, pages[name]) for name in _LIVE}
        found[ANOTHER] = self._another
        guarded = {path: _refusing(page) for path, page in found.items()}
        files = {f"{ROOT}/{name}": file(name, kind) for name, kind in _FILES.items()}
        return {ROOT: guarded[f"{ROOT}/overview"]} | guarded | files

    def _pages(self) -> Mapping[str, Make]:
        status, views = self.status, self.views
        return {
            "overview": lambda _asked, _visitor: overview(status, views.looks()),
            "tasks": lambda asked, _visitor: tasks(views.tasks(asked), asked),
            "vaults": lambda asked, _visitor: views.vaults(asked),
            "limits": views.limits,
            "changes": views.changes,
            "audit": lambda asked, _visitor: views.audit(asked),
        }

    def _page(self, name: str, make: Make) -> WSGIApplication:
        def page(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            visitor = visitor_of(environ)
            who = self.views.enter(name, visitor)
            text = self._templates.get_template("page.html").render(
                page=make(_asked(environ), visitor),
                name=name,
                names=list(self._pages()),
                live=name in _LIVE,
                who=who,
                another=f"{ANOTHER}?{urlencode({'than': who})}",
                root=ROOT,
                query=environ.get("QUERY_STRING", ""),
            )
            return whole(start, HTTPStatus.OK, HTML, text.encode())

        return page

    def _another(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Has the browser ask until it sends the key of another visitor, who may look."""
        try:
            who = self.views.enter("another", visitor_of(environ))
        except Refused as refused:
            if refused.status is HTTPStatus.FORBIDDEN:
                raise Refused(HTTPStatus.UNAUTHORIZED, str(refused)) from None
            raise
        if who == _asked(environ)["than"]:
            text = f"Name the key of somebody else than {who}, or go back."
            raise Refused(HTTPStatus.UNAUTHORIZED, text)
        return elsewhere(start, ROOT)

    def _changing(self, name: str, make: Make) -> WSGIApplication:
        template = self._templates.get_template("tables.html")

        def changing(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            visitor, asked = visitor_of(environ), _asked(environ)
            self.views.enter(name, visitor)
            return self._live.answer(
                start,
                lambda: template.render(page=make(asked, visitor)),
                lambda: self.views.still(visitor),
            )

        return changing


def _refusing(page: WSGIApplication) -> WSGIApplication:
    def refusing(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        try:
            return page(environ, start)
        except Refused as refused:
            return refusal(refused, start)

    return refusing


def _asked(environ: WSGIEnvironment) -> Asked:
    """Of a field that occurs twice the first counts; of very many none does."""
    try:
        pairs = parse_qsl(environ.get("QUERY_STRING", ""), max_num_fields=50)
    except ValueError:
        pairs = []
    return Asked(dict(reversed(pairs)))
