"""Signing in with an IAM user: one token per project, fetched once for everybody who waits for it.

refresh     in the background at 80 % of a token's life, give or take 5; the old one serves until it
            expires
401         has the token replaced once, however many calls saw it refused; they wait for its
            successor, each within its deadline, while others go on
            with the old one: what is refused to one operation may serve another
pauses      renewal_pace.py
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from msgspec import field

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.upstream.auth import Applied
from gateway.upstream.breakers import Breakers
from gateway.upstream.credentials import IamUser
from gateway.upstream.http import HttpRequest, HttpResponse, Transport
from gateway.upstream.iam_token import Iam, MishapError, Token, unreachable
from gateway.upstream.meter import UpstreamMeter
from gateway.upstream.renewal_pace import RenewalPace

_WAITED_OUT_S: Final = 2.0
"""The longest pause after a refusal for which calls wait; before a longer one they are told."""
_UNAUTHORIZED: Final = 401

_log = structlog.get_logger(__name__)


class _Project(msgspec.Struct, eq=False):
    """The state of one project's token."""

    id: str
    token: Token | None = None
    fetching: asyncio.Task[None] | None = None
    accepted: int = 0
    """Generation of the last token that the cloud has accepted."""
    refused: int = 0
    """Generation of the last token that the cloud has refused."""
    pace: RenewalPace = field(default_factory=RenewalPace)
    last_error: GatewayError | None = None
    """Why IAM gave no token, when it was last asked."""

    def valid_token(self, now: float) -> Token | None:
        return self.token if self.token is not None and now < self.token.expires_at else None


class TokenAuth:
    """Adds X-Auth-Token. `iam_endpoint`: origin of IAM, such as `https://iam.example`."""

    def __init__(
        self,
        user: IamUser,
        iam_endpoint: str,
        transport: Transport,
        *,
        breakers: Breakers,
        clock: Clock,
        random: Callable[[], float],
        meter: UpstreamMeter | None = None,
    ) -> None:
        self._iam = Iam(
            user,
            iam_endpoint,
            transport,
            breakers=breakers,
            clock=clock,
            random=random,
            meter=meter,
        )
        self._iam_endpoint = iam_endpoint
        self._clock = clock
        self._projects: dict[str, _Project] = {}
        self._issued: dict[int, _Project] = {}

    async def apply(self, request: HttpRequest, project_id: str, deadline_left_s: float) -> Applied:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = _Project(project_id)
        now = self._clock.monotonic()
        token = project.valid_token(now)
        if token is None:
            token = await self._wait_for_token(project, deadline_left_s)
        elif now >= token.refresh_at and not project.pace.pause_s(now):
            self._fetch_once(project)
        headers = {**request.headers, "X-Auth-Token": token.text.reveal()}
        return Applied(msgspec.structs.replace(request, headers=headers), token.generation)

    def observe(self, response: HttpResponse, generation: int) -> None:
        """Any answer but a 401 shows that the token is good."""
        if (
            response.status != _UNAUTHORIZED
            and (project := self._issued.get(generation)) is not None
        ):
            project.accepted = generation

    async def refused(self, generation: int, deadline_left_s: float) -> bool:
        """Waits for the successor.

        False where the pause before it is too long: the cloud keeps refusing tokens, and IAM cannot
        tell why.
        """
        project = self._issued.get(generation)
        if project is None:
            return True
        now = self._clock.monotonic()
        if project.refused != generation:
            project.refused = generation
            project.pace.refused(now, accepted=project.accepted == generation)
        if project.fetching is None and (pause_s := project.pace.pause_s(now)):
            if project.last_error is not None:
                raise self._failure(project)
            if pause_s > min(_WAITED_OUT_S, deadline_left_s):
                return False
        await self._fetched(project, deadline_left_s)
        if generation in self._issued:
            raise self._failure(project)
        return True

    def token_ages(self) -> list[tuple[str, float]]:
        """IAM's address, and the age of each token in use there."""
        now = self._clock.monotonic()
        tokens = [each.valid_token(now) for each in list(self._projects.values())]
        return [(self._iam_endpoint, now - token.issued_at) for token in tokens if token]

    async def aclose(self) -> None:
        fetches = [
            project.fetching for project in self._projects.values() if project.fetching is not None
        ]
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _wait_for_token(self, project: _Project, deadline_left_s: float) -> Token:
        if (
            project.fetching is None
            and project.last_error is not None
            and project.pace.pause_s(self._clock.monotonic())
        ):
            raise self._failure(project)
        await self._fetched(project, deadline_left_s)
        token = project.valid_token(self._clock.monotonic())
        if token is None:
            raise self._failure(project)
        return token

    async def _fetched(self, project: _Project, deadline_left_s: float) -> None:
        """Waits for the one fetch under way, whatever becomes of it."""
        try:
            async with asyncio.timeout(deadline_left_s):
                await asyncio.shield(self._fetch_once(project))
        except TimeoutError as error:
            raise unreachable("IAM did not answer in time.") from error

    def _failure(self, project: _Project) -> GatewayError:
        """The last failure once more; an exception object belongs to one raise."""
        error = project.last_error or unreachable("IAM gave no token that is still valid.")
        return GatewayError(
            error.reason,
            error.message,
            retry_after_s=project.pace.pause_s(self._clock.monotonic()) or None,
        )

    def _fetch_once(self, project: _Project) -> asyncio.Task[None]:
        if project.fetching is None:
            project.fetching = asyncio.create_task(self._fetch(project))
        return project.fetching

    async def _fetch(self, project: _Project) -> None:
        """Replaces the token, or notes the failure; raises nothing but cancellation."""
        try:
            if pause_s := project.pace.pause_s(self._clock.monotonic()):
                await self._clock.sleep(pause_s)
            self._take(project, await self._token(project))
        except GatewayError as error:
            pause_s = project.pace.failed(self._clock.monotonic())
            project.last_error = error
            _log.warning("iam.token_failed", project=project.id, error=str(error), pause_s=pause_s)
        else:
            project.pace.succeeded()
            project.last_error = None
        finally:
            project.fetching = None

    async def _token(self, project: _Project) -> Token:
        """A new token.

        Where IAM gives no answer of use it is asked a second time, so that one mishap fails none of
        the calls that wait.
        """
        try:
            return await self._iam.token(project.id)
        except MishapError:
            if project.pace.failures:
                raise
        return await self._iam.token(project.id)

    def _take(self, project: _Project, token: Token) -> None:
        self._issued = {
            generation: of for generation, of in self._issued.items() if of is not project
        }
        self._issued[token.generation] = project
        project.token = token
