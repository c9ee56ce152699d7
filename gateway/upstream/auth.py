"""How a request is given its credentials, and what is learnt from a refusal.

A client applies, sends, lets the authenticator observe the answer, and after a 401 asks `refused`
whether one more try makes sense.
"""

from functools import lru_cache
from time import gmtime, strftime
from typing import Final, Protocol
from urllib.parse import unquote

import msgspec
import structlog

from gateway.clock import Clock
from gateway.upstream.credentials import AccessKey
from gateway.upstream.http import HttpRequest, HttpResponse
from gateway.upstream.remote_clock import date_of
from gateway.upstream.sign import Signer

_APPLY_OFFSET_S: Final = 30.0
_WARN_OFFSET_S: Final = 60.0
_IGNORE_OFFSET_S: Final = 24 * 3600.0

_log = structlog.get_logger(__name__)


class Applied(msgspec.Struct, frozen=True, gc=False):
    """A request ready to send, and the generation of the credentials in it."""

    request: HttpRequest
    generation: int


class Authenticator(Protocol):
    """Signs in with one credential. Safe for many calls at once on one event loop."""

    async def apply(self, request: HttpRequest, project_id: str, deadline_left_s: float) -> Applied:
        """The request with credentials for the project.

        Every attempt is applied anew, from the bare request.

        Raises GatewayError UPSTREAM_CREDENTIALS when the credential is refused,
        UPSTREAM_UNREACHABLE when IAM cannot be asked.
        """
        ...

    def observe(self, response: HttpResponse, generation: int) -> None:
        """Learns from any answer of the cloud to a request with credentials of that generation."""
        ...

    async def refused(self, generation: int, deadline_left_s: float) -> bool:
        """After a 401: True when another try would carry something new, for which it waits.

        Call `observe` with the 401 first. Raises as `apply`.
        """
        ...

    async def aclose(self) -> None:
        """Ends background work."""
        ...


class AccessKeyAuth:
    """Signs with an access key, by the cloud's clock where ours is off.

    The cloud refuses signatures 15 minutes off. The offset is learnt from the Date of answers: one
    over 30 s is applied, one over 60 s is also worth a warning, one over 24 h is ignored.
    Generations count the offsets that were learnt.

    `scope`: region and service, such as `eu-de/cbr`, where the cloud wants a key that is derived
    for them.
    """

    def __init__(self, credential: AccessKey, clock: Clock, scope: str = "") -> None:
        self._credential = credential
        self._signer = Signer(credential.access_key, credential.secret_key.reveal(), scope)
        self._clock = clock
        self._offset_s = 0.0
        self._generation = 0

    async def apply(self, request: HttpRequest, project_id: str, deadline_left_s: float) -> Applied:  # noqa: ARG002 - never waits
        origin, target = request.split_url()
        path, _, query = target.partition("?")
        headers = {
            **request.headers,
            "Host": origin.partition("://")[2],
            "X-Sdk-Date": _date(int(self._clock.time() + self._offset_s)),
            "X-Project-Id": project_id,
        }
        if self._credential.security_token is not None:
            headers["X-Security-Token"] = self._credential.security_token.reveal()
        headers["Authorization"] = self._signer.sign(
            request.method, path, _pairs(query) if query else (), headers, request.body
        )
        return Applied(
            HttpRequest(request.method, request.url, headers, request.body), self._generation
        )

    def observe(self, response: HttpResponse, generation: int) -> None:  # noqa: ARG002 - the clock is the same for all
        """Compares our clock with the answer's Date, which has whole seconds."""
        theirs = date_of(response)
        if theirs is None:
            return
        skew_s = theirs - self._clock.time()
        if abs(skew_s) > _IGNORE_OFFSET_S or abs(skew_s - self._offset_s) <= _APPLY_OFFSET_S:
            return
        self._offset_s = skew_s if abs(skew_s) > _APPLY_OFFSET_S else 0.0
        self._generation += 1
        if abs(skew_s) > _WARN_OFFSET_S:
            _log.warning(
                "clock.offset",
                offset_s=round(skew_s),
                advice="set this machine's clock; requests are signed by the cloud's",
            )

    async def refused(self, generation: int, deadline_left_s: float) -> bool:  # noqa: ARG002 - never waits
        return generation < self._generation

    async def aclose(self) -> None:
        """Nothing runs in the background."""


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    """The same for all requests of a second."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(second))


def _pairs(query: str) -> list[tuple[str, str]]:
    """Decoded names and values. A plus sign stays one: what we send writes blanks as %20."""
    parts = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote(name), unquote(value)) for name, _, value in parts]
