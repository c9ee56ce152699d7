"""CBR's raw answers, heard on their way to the client. What IAM answers is never kept."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from gateway.upstream import tolerant_json
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding
from gateway.upstream.http import HttpRequest, HttpResponse, Transport, always
from gateway.upstream.strict_json import NotJson
from gateway.upstream.values import Json

_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one call.

    `variables`: those of the path, by name; `value`: its JSON, None where it is none.
    """

    binding: Binding
    variables: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    status: int
    body: bytes = field(repr=False)
    value: Any = field(repr=False)


class Tap:
    """A transport that tells what passes through it."""

    def __init__(
        self, transport: Transport, catalog: Catalog, hear: Callable[[Answer], None]
    ) -> None:
        self.connect_timeout_s = transport.connect_timeout_s
        self._transport = transport
        self._hear = hear
        # Of paths that fit, the one with the fewest variables: `vaults/summary` is no id of a
        # vault.
        reads = sorted(
            (binding for binding in catalog if binding.reads and binding.path),
            key=lambda binding: binding.path.count("{"),
        )
        self._paths = [(binding, _pattern(binding.path)) for binding in reads]

    async def send(
        self,
        request: HttpRequest,
        timeout_s: float,
        may_write: Callable[[], bool] = always,
        *,
        connect_s: float | None = None,
    ) -> HttpResponse:
        """As Transport."""
        response = await self._transport.send(request, timeout_s, may_write, connect_s=connect_s)
        _, target = request.split_url()
        path, _, query = target.partition("?")
        for binding, pattern in self._paths:
            match = pattern.fullmatch(path) if binding.method == request.method else None
            if match is not None:
                variables = {name: unquote(value) for name, value in match.groupdict().items()}
                self._hear(
                    Answer(
                        binding,
                        variables,
                        tuple(_pairs(query)),
                        response.status,
                        response.body,
                        _json(response.body),
                    )
                )
                break
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(_VARIABLE.sub(r"(?P<\1>[^/]+)", path.replace(".", r"\.")))


def _pairs(query: str) -> Iterable[tuple[str, str]]:
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        yield unquote(name), unquote(value)


def _json(body: bytes) -> Json:
    try:
        return tolerant_json.loads(body) if body.strip() else None
    except NotJson:
        return None
