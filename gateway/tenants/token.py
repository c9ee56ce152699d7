"""Signed tokens (JWT): who vouches for the caller, and whether that is accepted.

The cheap rules come first, so that most bad tokens cost no signature check; whether a subject is
known is told only to those who hold its token. Nothing in a token's header decides how it is
checked: the algorithm must be one that the issuer's settings allow, the key one of the issuer's
own.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from joserfc.errors import JoseError
from msgspec import Struct

from gateway.clock import Clock
from gateway.tenants.authentication_error import AuthenticationError
from gateway.tenants.issuer import IssuerSettings
from gateway.tenants.jwks import VerifyingKey
from gateway.tenants.keys import Keys, KeysUnavailable
from gateway.upstream import strict_json

LEEWAY_S: Final = 30
MAX_BYTES: Final = 8 * 1024
_MAX_KID: Final = 256
_MAX_HEADER: Final = 1024
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_HEADERS: Final = frozenset({"alg", "kid", "typ", "cty", "x5t", "x5t#S256"})
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})


class Issuer(Struct, frozen=True):
    """An issuer's name in the configuration, its settings and its keys."""

    name: str
    settings: IssuerSettings
    keys: Keys


class _Header(Struct, frozen=True):
    algorithm: str
    kid: str | None


def looks_like_token(text: str) -> bool:
    """Three parts with dots between them; no API key holds a dot."""
    return text.count(".") == 2  # noqa: PLR2004 - header, claims, signature


class TokenVerifier:
    """Verifies the tokens of some issuers."""

    def __init__(self, issuers: Iterable[Issuer], clock: Clock) -> None:
        self._issuers = {issuer.settings.issuer: issuer for issuer in issuers}
        self._clock = clock

    async def verified(self, token: str) -> tuple[str, str, float]:
        """The issuer's name in the configuration, the token's subject, and when it ends in seconds
        since 1970. Raises AuthenticationError.
        """
        if len(token) > MAX_BYTES or not _SHAPE.fullmatch(token):
            raise AuthenticationError("the token is not a signed JWT in compact form")
        head, body, signature = token.split(".")
        header = _header(_document(head))
        claims = _document(body)
        issuer = self._issuers.get(_text(claims, "iss"))
        if issuer is None:
            raise AuthenticationError(
                "the token's issuer (iss) is not one that this gateway accepts"
            )
        if header.algorithm not in issuer.settings.algorithms:
            raise AuthenticationError(
                "the token's algorithm (alg) is not one that this gateway accepts from its issuer"
            )
        _check_audience(claims, issuer.settings.audience)
        until = _check_times(claims, self._clock.time(), issuer.settings.max_life_s)
        subject = _text(claims, "sub")
        if not signature:
            raise AuthenticationError("the token is not signed")
        _check_signature(token, header.algorithm, await _key(issuer, header))
        return issuer.name, subject, until


def _document(part: str) -> Mapping[str, Any]:
    """The JSON object in a part. Exact base64 only, so that a token has one spelling."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        value = strict_json.loads(raw)
    except (binascii.Error, strict_json.NotJson) as error:
        raise AuthenticationError("the token is not a signed JWT in compact form") from error
    if not isinstance(value, dict) or base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise AuthenticationError("the token is not a signed JWT in compact form")
    return value


def _header(header: Mapping[str, Any]) -> _Header:
    if not header.keys() <= _HEADERS:
        # crit, b64, jku, jwk, x5u, x5c: all would have the token say how it is to be checked.
        raise AuthenticationError(
            "the token's header holds an entry that this gateway does not accept"
        )
    kid, kind, algorithm = header.get("kid"), header.get("typ", "JWT"), header.get("alg")
    if not isinstance(algorithm, str) or not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise AuthenticationError("the token's header does not describe a signed JWT")
    if kid is not None and (not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID):
        raise AuthenticationError("the token's key id (kid) is malformed")
    return _Header(algorithm, kid)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise AuthenticationError(f"the token has no claim {name}, or one that is not text")
    return value


def _check_audience(claims: Mapping[str, Any], wanted: str) -> None:
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(name, str) for name in named) or wanted not in named:
        raise AuthenticationError("the token is not meant for this gateway (aud)")


def _check_times(claims: Mapping[str, Any], now: float, max_life_s: float) -> float:
    """When the token ends."""
    issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
    if expires + LEEWAY_S <= now:
        raise AuthenticationError("the token has expired (exp)")
    if issued - LEEWAY_S > now:
        raise AuthenticationError("the token was issued in the future (iat)")
    if not 0 < expires - issued <= max_life_s:
        raise AuthenticationError(
            f"the token's life (iat to exp) is not between 0 and {max_life_s} s"
        )
    if "nbf" in claims and _instant(claims, "nbf") - LEEWAY_S > now:
        raise AuthenticationError("the token is not valid yet (nbf)")
    return expires + LEEWAY_S


def _instant(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    try:
        instant = (
            float(value)
            if isinstance(value, int | float) and not isinstance(value, bool)
            else math.nan
        )
    except OverflowError:
        instant = math.nan
    if not math.isfinite(instant):
        raise AuthenticationError(f"the token has no claim {name}, or one that is not a time")
    return instant


async def _key(issuer: Issuer, header: _Header) -> VerifyingKey:
    try:
        found = await issuer.keys.find(header.kid, header.algorithm)
    except KeysUnavailable as error:
        raise AuthenticationError(
            "the keys of the token's issuer cannot be fetched at the moment; try again soon"
        ) from error
    if not found:
        raise AuthenticationError(
            "the token is signed with a key (kid) that is not one of its issuer's for that"
            " algorithm"
        )
    if len(found) > 1:
        raise AuthenticationError(
            "the token names no key (kid), or one that its issuer has several of"
        )
    return found[0]


def _check_signature(token: str, algorithm: str, key: VerifyingKey) -> None:
    # Here, since most gateways have no issuers.
    from joserfc import jws  # noqa: PLC0415

    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = _MAX_HEADER
    try:
        jws.deserialize_compact(token, key.key, registry=registry)
    except (JoseError, ValueError, TypeError) as error:
        raise AuthenticationError("the token's signature does not fit") from error
