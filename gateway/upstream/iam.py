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
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import errors_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.secret import Secret
from gateway.upstream.auth import Applied
from gateway.upstream.breaker import Traffic, Verdict
from gateway.upstream.breakers import Breakers, Held
from gateway.upstream.credentials import IamUser
from gateway.upstream.http import HttpRequest, HttpResponse, Lost, NotSent, Transport
from gateway.upstream.meter import NoUpstreamMeter, UpstreamMeter
from gateway.upstream.outcome import Attempt, Outcome
from gateway.upstream.renewal_pace import RenewalPace
from gateway.upstream.target import Target

_TIMEOUT_S: Final = 10.0
_REFRESH_AT: Final = 0.8
_REFRESH_JITTER: Final = 0.05
_WAITED_OUT_S: Final = 2.0
"""The longest pause after a refusal for which calls wait; before a longer one they are told."""
_UNAUTHORIZED: Final = 401
_SERVER_ERROR: Final = 500
_CREATED: Final = 201
_REFUSALS: Final = frozenset({400, 401, 403, 404})

_log = structlog.get_logger(__name__)


class _TokenTimes(msgspec.Struct):
    issued_at: str
    expires_at: str


class _TokenBody(msgspec.Struct):
    token: _TokenTimes


@dataclass(frozen=True, slots=True)
class _Token:
    """A project's token; times are monotonic."""

    text: Secret
    generation: int
    refresh_at: float
    expires_at: float
    issued_at: float


@dataclass(slots=True, eq=False)
class _Project:
    """The state of one project's token."""

    id: str
    token: _Token | None = None
    fetching: asyncio.Task[None] | None = None
    accepted: int = 0
    """Generation of the last token that the cloud has accepted."""
    refused: int = 0
    """Generation of the last token that the cloud has refused."""
    pace: RenewalPace = field(default_factory=RenewalPace)
    last_error: GatewayError | None = None
    """Why IAM gave no token, when it was last asked."""

    def valid_token(self, now: float) -> _Token | None:
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
        self._user = user
        self._url = f"{iam_endpoint.rstrip('/')}/v3/auth/tokens?nocatalog=x"
        self._transport = transport
        self._breakers = breakers
        self._iam_endpoint = iam_endpoint
        self._clock = clock
        self._random = random
        self._meter = meter or NoUpstreamMeter()
        self._projects: dict[str, _Project] = {}
        self._generations = count(1)
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

    async def _wait_for_token(self, project: _Project, deadline_left_s: float) -> _Token:
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
            raise _unreachable("IAM did not answer in time.") from error

    def _failure(self, project: _Project) -> GatewayError:
        """The last failure once more; an exception object belongs to one raise."""
        error = project.last_error or _unreachable("IAM gave no token that is still valid.")
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

    async def _token(self, project: _Project) -> _Token:
        """A new token.

        Where IAM gives no answer of use it is asked a second time, so that one mishap fails none of
        the calls that wait.
        """
        try:
            return self._read(await self._ask(project.id))
        except _MishapError:
            if project.pace.failures:
                raise
        return self._read(await self._ask(project.id))

    def _take(self, project: _Project, token: _Token) -> None:
        self._issued = {
            generation: of for generation, of in self._issued.items() if of is not project
        }
        self._issued[token.generation] = project
        project.token = token

    async def _ask(self, project_id: str) -> HttpResponse:
        # For IAM the callers that are kept apart are its users.
        caller = f"{self._user.domain}/{self._user.user}"
        target = Target(self._iam_endpoint, caller, project_id, "CreateToken")
        passage = self._breakers.enter(target, Traffic.IAM)
        if isinstance(passage, Held):
            raise _unreachable("IAM has been failing and is left alone for some seconds.")
        verdict, attempt, began = Verdict.NOTHING, None, self._clock.monotonic()
        try:
            response = await self._transport.send(self._request(project_id), _TIMEOUT_S)
            attempt = Attempt(Outcome.DEFINITE, status=response.status)
            verdict = Verdict.FAILURE if response.status >= _SERVER_ERROR else Verdict.SUCCESS
        except (NotSent, Lost) as error:
            never = isinstance(error, NotSent)
            attempt = Attempt(Outcome.NEVER_SENT if never else Outcome.AMBIGUOUS)
            verdict = error.verdict(_TIMEOUT_S)
            connect = error.connect if isinstance(error, NotSent) else None
            why = connect.problem if connect else "it did not answer"
            _log.warning(
                "no answer of IAM",
                project=project_id,
                url=self._url,
                cause=str(error),
                advice=error.advice,
            )
            kind = _MishapError if isinstance(error, Lost) and not error.timed_out else GatewayError
            raise _unreachable(
                f"IAM could not be reached ({why}); repeating is safe.", kind
            ) from error
        finally:
            passage.settle(verdict)
            self._meter.attempted(target, attempt, self._clock.monotonic() - began)
        return response

    def _request(self, project_id: str) -> HttpRequest:
        user = {
            "name": self._user.user,
            "password": self._user.password.reveal(),
            "domain": {"name": self._user.domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        body = msgspec.json.encode(
            {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}
        )
        return HttpRequest(
            "POST", self._url, {"Content-Type": "application/json;charset=utf8"}, body
        )

    def _read(self, response: HttpResponse) -> _Token:
        """The token of an answer.

        Its life is taken from IAM's two times, so that our clock does not matter.
        """
        if response.status in _REFUSALS:
            told = (
                "IAM refused the credential that the gateway has for this project (HTTP"
                f" {response.status})"
            )
            message = f"{told}; its operator has to check user, password and account."
            raise GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_CREDENTIALS, message)
        if response.status != _CREATED:
            raise _unreachable(f"IAM gave no token (HTTP {response.status}).", _MishapError)
        try:
            times = msgspec.json.decode(response.body, type=_TokenBody).token
            life_s = (_instant(times.expires_at) - _instant(times.issued_at)).total_seconds()
            text = response.headers["x-subject-token"]
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            raise _not_understood() from error
        if life_s <= 0:
            raise _not_understood()
        now = self._clock.monotonic()
        share = _REFRESH_AT + _REFRESH_JITTER * (2 * self._random() - 1)
        return _Token(
            Secret(text), next(self._generations), now + share * life_s, now + life_s, now
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


class _MishapError(GatewayError):
    """IAM gave no answer of use, and the next one may be better."""


def _unreachable(message: str, kind: type[GatewayError] = GatewayError) -> GatewayError:
    return kind(errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE, message)


def _not_understood() -> GatewayError:
    return _MishapError(
        errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL,
        "IAM's answer is not one that its manual describes.",
    )
