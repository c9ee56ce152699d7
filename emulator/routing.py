"""Routes and how a path finds one.

Rules of the vendor's paths: a literal segment beats a parameter (`/vaults/summary` before
`/vaults/{vault_id}`), no trailing slash, and a known path with another method is as unknown as an
unknown path.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from emulator.auth import Authenticator, Caller
from emulator.errors import invalid
from emulator.fields import Check, JsonObject, QueryCheck
from emulator.settings import Account, Project
from emulator.tasks import Outcome
from emulator.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a handler sees it: authenticated, matched and checked."""

    world: World
    auth: Authenticator
    caller: Caller | None
    """None for the few operations that need no credentials."""
    path_project: Project | None
    params: Mapping[str, str]
    query: JsonObject
    body: JsonObject
    base_url: str = ""
    """The address that the client has used, without a slash at the end."""
    outcome: Outcome | None = None
    """How tasks started by this call must end; None: well."""
    list_lag_s: float = 0.0
    """Objects younger than this are absent from lists."""

    @property
    def account(self) -> Account:
        """The account of the caller."""
        if self.caller is None:
            raise LookupError("a public operation has no caller")
        return self.caller.account

    @property
    def project(self) -> Project:
        """The project of the path; without one there, the one the credentials are scoped to."""
        if self.path_project is not None:
            return self.path_project
        scoped = self.caller.project if self.caller is not None else None
        return scoped or self.account.projects[0]

    @property
    def project_id(self) -> str:
        """Id of `project`."""
        return self.project.id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler returns when status or headers depend on the request; others return JSON."""

    status: int
    payload: object
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Call], object]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `operation` is the vendor's name for it; faults and the truth log use it."""

    operation: str
    method: str
    path: str
    handler: Handler
    status: int = 200
    body: Check | None = None
    query: Mapping[str, QueryCheck] = field(default_factory=dict)
    mutates: bool | None = None
    public: bool = False
    """True: works without credentials."""

    @property
    def changes_state(self) -> bool:
        """Whether a success of this operation is a commit (for the truth log)."""
        return self.method != "GET" if self.mutates is None else self.mutates


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds the route of a request; built once, read often."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            node = self._root
            for segment in route.path.strip("/").split("/"):
                if segment.startswith("{"):
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
                else:
                    node = node.literals.setdefault(segment, _Node())
            node.routes[route.method] = route

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route and its decoded path parameters, or None.

        `raw_path` is as sent, without the query.
        """
        if not raw_path.startswith("/"):
            return None
        segments = raw_path[1:].split("/")
        route = _walk(self._root, method, segments, 0)
        if route is None and segments[-1] == "":
            # Keystone itself names its version so.
            segments = segments[:-1]
            route = _walk(self._root, method, segments, 0)
            route = route if route is not None and route.public else None
        if route is None:
            return None
        names = route.path.strip("/").split("/")
        params = {
            name[1:-1]: unquote(segment)
            for name, segment in zip(names, segments, strict=True)
            if name.startswith("{")
        }
        return route, params


def _walk(node: _Node, method: str, segments: list[str], depth: int) -> Route | None:
    if depth == len(segments):
        return node.routes.get(method)
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None and (found := _walk(literal, method, segments, depth + 1)) is not None:
        return found
    if node.parameter is not None and segment:
        return _walk(node.parameter, method, segments, depth + 1)
    return None


def page(call: Call, items: list[Any], *, marker: bool = False) -> tuple[list[Any], JsonObject]:
    """Cut one page out of `items` (anything with an id); return it and the `count`, `limit`,
    `offset` of the reply.

    `marker`: whether the list takes the id of the last item of the page before. `count` is the
    number of items that match the filter, on all pages; it may be left out (emulator/paging.py).
    """
    limit, offset = call.query.get("limit", 1000), call.query.get("offset", 0)
    rules = call.world.paging
    before = call.query.get("marker") if marker or rules.marker == "everywhere" else None
    shown, count = rules.cut(items, limit, offset, before)
    return list(shown), ({} if count is None else {"count": count}) | {
        "limit": limit,
        "offset": offset,
    }


def only_count(totals: JsonObject) -> JsonObject:
    """Without what repeats the request."""
    return {key: totals[key] for key in totals if key == "count"}


def visible(call: Call, items: Iterable[Any]) -> list[Any]:
    """Return the items that a list may show already (see the fault `list_lag`)."""
    if not call.list_lag_s:
        return list(items)
    horizon = call.world.clock.now() - call.list_lag_s
    return [item for item in items if item.created_at <= horizon]


def in_order(items: list[Any], sort: str | None, keys: Collection[str]) -> list[Any]:
    """Return `items` sorted by `key[:asc|desc],…` (descending without a word), or as they are
    without a wish.
    """
    for part in reversed(sort.split(",") if sort else []):
        key, _, direction = part.strip().partition(":")
        if key not in keys or direction not in {"", "asc", "desc"}:
            raise invalid("sort")
        items = sorted(items, key=lambda item: getattr(item, key) or 0, reverse=direction != "asc")
    return items
