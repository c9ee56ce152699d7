"""One token of IAM for one project: how it is asked for, and what the answer says."""

from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import errors_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.secret import Secret
from gateway.upstream.breaker import Traffic, Verdict
from gateway.upstream.breakers import Breakers, Held
from gateway.upstream.credentials import IamUser
from gateway.upstream.http import HttpRequest, HttpResponse, Lost, NotSent, Transport
from gateway.upstream.meter import NoUpstreamMeter, UpstreamMeter
from gateway.upstream.outcome import Attempt, Outcome
from gateway.upstream.target import Target

_PATH: Final = "/v3/auth/tokens"
_TIMEOUT_S: Final = 10.0
_REFRESH_AT: Final = 0.8
_REFRESH_JITTER: Final = 0.05
_SERVER_ERROR: Final = 500
_CREATED: Final = 201
_REFUSALS: Final = frozenset({400, 401, 403, 404})

_log = structlog.get_logger(__name__)


class _TokenTimes(msgspec.Struct):
    issued_at: str
    expires_at: str


class _TokenBody(msgspec.Struct):
    token: _TokenTimes


class Token(msgspec.Struct, frozen=True):
    """A project's token; times are monotonic."""

    text: Secret
    generation: int
    refresh_at: float
    expires_at: float
    issued_at: float


class Iam:
    """Asked as one user."""

    def __init__(
        self,
        user: IamUser,
        endpoint: str,
        transport: Transport,
        *,
        breakers: Breakers,
        clock: Clock,
        random: Callable[[], float],
        meter: UpstreamMeter | None = None,
    ) -> None:
        self._user = user
        self._url = f"{endpoint.rstrip('/')}{_PATH}?nocatalog=x"
        self._transport = transport
        self._breakers = breakers
        self._endpoint = endpoint
        self._clock = clock
        self._random = random
        self._meter = meter or NoUpstreamMeter()
        self._generations = count(1)

    async def token(self, project_id: str) -> Token:
        """Raises GatewayError; a MishapError where the next answer may be better."""
        return self._read(await self._ask(project_id))

    async def _ask(self, project_id: str) -> HttpResponse:
        # For IAM the callers that are kept apart are its users.
        caller = f"{self._user.domain}/{self._user.user}"
        target = Target(self._endpoint, caller, project_id, "CreateToken")
        passage = self._breakers.enter(target, Traffic.IAM)
        if isinstance(passage, Held):
            raise unreachable("IAM has been failing and is left alone for some seconds.")
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
            kind = MishapError if isinstance(error, Lost) and not error.timed_out else GatewayError
            raise unreachable(
                f"IAM could not be reached ({why}); repeating is safe.", kind
            ) from error
        finally:
            passage.settle(verdict)
            took_s = self._clock.monotonic() - began
            self._meter.attempted(target, attempt, took_s, method="POST", path=_PATH, resent=0)
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

    def _read(self, response: HttpResponse) -> Token:
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
            raise unreachable(f"IAM gave no token (HTTP {response.status}).", MishapError)
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
        return Token(Secret(text), next(self._generations), now + share * life_s, now + life_s, now)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


class MishapError(GatewayError):
    """IAM gave no answer of use, and the next one may be better."""


def unreachable(message: str, kind: type[GatewayError] = GatewayError) -> GatewayError:
    return kind(errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE, message)


def _not_understood() -> GatewayError:
    return MishapError(
        errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL,
        "IAM's answer is not one that its manual describes.",
    )
