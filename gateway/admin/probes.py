"""What a probe is told: whether this process lives, and whether it can do its work.

Alive means that the event loop goes on. Ready means that the process takes calls and has what it
needs on its own side: a configuration, the store, the audit log. CBR is not asked: taking a gateway
out of service mends no cloud.

The form is that of Kubernetes: a line for each check, and `?exclude=store` leaves one out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from msgspec import Struct

from gateway.admin.http import answer
from gateway.background import on_loop
from gateway.state import Store, StoreDown

_ASKED_S: Final = 2.0
"""For all checks together: probes wait hardly longer."""
LOOP: Final = "event-loop"


class Finding(Struct, frozen=True):
    """What a check has found; `text` says more."""

    good: bool
    text: str = ""


Check = Callable[[], Awaitable[Finding]]
"""Made on the event loop."""


class Probes(Struct, frozen=True):
    """`live`: whether the event loop goes on, asked in any thread."""

    loop: asyncio.AbstractEventLoop
    live: Callable[[], bool]
    checks: Mapping[str, Check]

    def livez(self, _environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        """Whether to leave the process alone."""
        if self.live():
            return answer(start, HTTPStatus.OK, "ok\n")
        text = "the event loop stands still; the log has where\n"
        return answer(start, HTTPStatus.SERVICE_UNAVAILABLE, text)

    def readyz(self, environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
        """Whether to send calls to the process."""
        excluded = set(parse_qs(environ.get("QUERY_STRING", "")).get("exclude", ()))
        if unknown := sorted(excluded - {LOOP, *self.checks}):
            known = ", ".join((LOOP, *self.checks))
            text = f"there is no check {', '.join(unknown)}; there are {known}\n"
            return answer(start, HTTPStatus.BAD_REQUEST, text)
        found = {name: each for name, each in self.found().items() if name not in excluded}
        ready = all(each.good for each in found.values())
        lines = [
            f"[{'+' if each.good else '-'}]{name} {'ok' if each.good else 'failed'}"
            + (f": {each.text}" if each.text else "")
            for name, each in found.items()
        ]
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return answer(start, status, "\n".join([*lines, "ready" if ready else "not ready", ""]))

    def found(self) -> dict[str, Finding]:
        """What each check has found; asked in a thread."""
        if not self.live():
            return {LOOP: Finding(good=False, text="it stands still")}
        try:
            return {LOOP: Finding(good=True), **on_loop(self.loop, self._all(), _ASKED_S)}
        except TimeoutError:
            return {LOOP: Finding(good=False, text=f"no answer within {_ASKED_S:g} s")}

    async def _all(self) -> dict[str, Finding]:
        return {name: await check() for name, check in self.checks.items()}


async def store_answers(store: Store) -> Finding:
    """Whether the store can be read."""
    try:
        await store.overrides.version()
    except StoreDown:
        return Finding(good=False, text="the store does not answer; the log has why")
    return Finding(good=True)


def configuration_in_use(version: str, *, refused: bool) -> Finding:
    """Good as long as there is one. `refused`: the last reload was, all or in part."""
    kept = ", since the last reload was refused" if refused else ""
    return Finding(good=True, text=f"version {version}{kept}")
