"""An issuer's keys over time: fetched when first needed, renewed now and then, kept while the
issuer is down.

unknown key id   one fetch, at most every 30 s, however many tokens name it; so a flood of invented
                 ids costs the issuer nothing
age              after 10 minutes renewed in the background, so that a key the issuer has withdrawn
                 goes
failure          the keys stay; without any, the next try is at the earliest 1 s later
"""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from gateway.clock import Clock
from gateway.secret import masked
from gateway.tenants.jwks import KeySetError, VerifyingKey, read_keys
from gateway.upstream.http import HttpRequest, Lost, NotSent, Transport

_TIMEOUT_S: Final = 5.0
_REFETCH_PAUSE_S: Final = 30.0
_RETRY_PAUSE_S: Final = 1.0
_RENEW_AFTER_S: Final = 600.0
_OK: Final = 200

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class KeysUnavailable(Exception):  # noqa: N818 - says what is the case
    """No key of the issuer is known, and none can be had now."""


class Keys(Protocol):
    """Finds the keys that may have signed a token."""

    async def find(self, kid: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        """The keys of that id that serve the algorithm; without an id, all that serve it.

        Raises KeysUnavailable.
        """
        ...


def matching(
    keys: tuple[VerifyingKey, ...], kid: str | None, algorithm: str
) -> tuple[VerifyingKey, ...]:
    return tuple(key for key in keys if kid in (None, key.kid) and key.serves(algorithm))


@dataclass(frozen=True)
class FileKeys:
    """Keys that do not change until the configuration is loaded anew.

    `body`: the key set. Raises KeySetError when it is made of another text.
    """

    body: bytes
    _keys: tuple[VerifyingKey, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", read_keys(self.body))

    async def find(self, kid: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        return matching(self._keys, kid, algorithm)


class FetchedKeys:
    """Keys behind a URL.

    One per issuer, for the life of the process: a new configuration keeps what is known.
    """

    def __init__(self, url: str, transport: Transport, clock: Clock) -> None:
        self._url = url
        self._transport = transport
        self._clock = clock
        self._keys: tuple[VerifyingKey, ...] = ()
        self._fetched_at = -math.inf
        self._asked_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        found = matching(self._keys, kid, algorithm)
        if not found:
            if fetch := self._fetch_if_due(_REFETCH_PAUSE_S if self._keys else _RETRY_PAUSE_S):
                # Shielded: a caller that goes away must not end the fetch that others wait for.
                await asyncio.shield(fetch)
                found = matching(self._keys, kid, algorithm)
            if not self._keys:
                raise KeysUnavailable
        elif self._clock.monotonic() - self._fetched_at >= _RENEW_AFTER_S:
            self._fetch_if_due(_REFETCH_PAUSE_S)
        return found

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _fetch_if_due(self, pause_s: float) -> asyncio.Task[None] | None:
        """The fetch under way, a new one when the last is long enough ago, else None."""
        now = self._clock.monotonic()
        if self._fetching is None and now - self._asked_at >= pause_s:
            self._asked_at = now
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        """Replaces the keys, or keeps them and says why; raises nothing but cancellation."""
        try:
            answer = await self._transport.send(
                HttpRequest("GET", self._url, {"Accept": "application/json"}), _TIMEOUT_S
            )
            if answer.status != _OK:
                raise KeySetError(f"was answered with HTTP {answer.status}")  # noqa: TRY301 - every failure ends in one place
            self._keys = read_keys(answer.body)
            self._fetched_at = self._clock.monotonic()
        except (NotSent, Lost, KeySetError, ValueError) as error:
            log.warning(
                "keys of an issuer cannot be fetched",
                url=masked(self._url),
                error=str(error),
                known_keys=len(self._keys),
            )
        finally:
            self._fetching = None
