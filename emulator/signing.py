"""Request signatures: what is signed, and with which key.

Sources: "Signing algorithm" of the API gateway manual (SDK-HMAC-SHA256); the vendor's SDKs
(V11-HMAC-SHA256, whose key is derived from the secret key for a day, a region and a service);
OpenStack-style clients (SDK-HMAC-SHA256 with `Credential=`, whose key is derived in four steps).
SDKs differ in the order of repeated query values: sorted, or as they were given.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

PLAIN, DERIVED = "SDK-HMAC-SHA256", "V11-HMAC-SHA256"
STEPS_END = "/sdk_request"
AUTHORIZATION = re.compile(
    rf"(?P<algorithm>{PLAIN}|{DERIVED})\s+"
    rf"(?:Access=(?P<access>[^,\s]+)|Credential=(?P<key>[^,\s/]+)/(?P<scope>(?:[^,\s/]*/){{2}}[^,\s/]*(?:{STEPS_END})?)),\s*"
    r"SignedHeaders=(?P<names>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it came in: path and query still encoded, header names in lower case."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Authorization header says."""

    algorithm: str
    access_key: str
    scope: str
    """`date/region/service`, of the four-step key with `/sdk_request` behind; empty if the secret
    key itself signs.
    """
    names: tuple[str, ...]
    """The signed headers."""
    signature: str


def claim_of(header: str) -> Claim | None:
    """Read an Authorization header; None if it is of no known form."""
    match = AUTHORIZATION.fullmatch(header.strip())
    if match is None:
        return None
    algorithm, scope = match["algorithm"], match["scope"] or ""
    if (algorithm == DERIVED) != bool(scope and not scope.endswith(STEPS_END)):
        return None
    return Claim(
        algorithm,
        match["access"] or match["key"],
        scope,
        tuple(match["names"].split(";")),
        match["signature"],
    )


def matches(arrival: Arrival, claim: Claim, secret_key: str) -> bool:
    """Return whether this key signed the claim, whatever the order of repeated query values."""
    date = arrival.headers.get("x-sdk-date", "")
    if claim.scope and not claim.scope.startswith(f"{date[:8]}/"):
        return False
    orders = (
        canonical_request(arrival, claim.names, as_given=as_given) for as_given in (False, True)
    )
    return any(
        hmac.compare_digest(signature(secret_key, date, canonical, claim), claim.signature)
        for canonical in orders
    )


def canonical_request(arrival: Arrival, names: tuple[str, ...], *, as_given: bool = False) -> str:
    """Return the six parts that are signed, joined by line feeds; `as_given` keeps the order of
    repeated query values.
    """
    headers, body = arrival.headers, arrival.body
    path = "/".join(_encode(unquote(segment)) for segment in arrival.raw_path.split("/"))
    pairs = [pair.partition("=")[::2] for pair in arrival.raw_query.split("&") if pair]
    decoded = [(unquote(name), unquote(value)) for name, value in pairs]
    decoded.sort(key=(lambda pair: pair[:1]) if as_given else None)
    names = tuple(sorted(name.lower() for name in names))
    lines = "".join(f"{name}:{headers.get(name, '').strip()}\n" for name in names)
    digest = headers.get("x-sdk-content-sha256") if body else None
    return "\n".join(
        (
            arrival.method.upper(),
            path if path.endswith("/") else f"{path}/",
            "&".join(f"{_encode(name)}={_encode(value)}" for name, value in decoded),
            lines,
            ";".join(names),
            digest or hashlib.sha256(body).hexdigest(),
        )
    )


def signature(secret_key: str, date: str, canonical: str, claim: Claim | None = None) -> str:
    """Return the hex signature of a canonical request, with the key for the claim's scope."""
    scope = claim.scope if claim is not None else ""
    parts = (
        claim.algorithm if claim is not None else PLAIN,
        date,
        *([scope] if scope else []),
        hashlib.sha256(canonical.encode()).hexdigest(),
    )
    return _hmac(_key(secret_key, claim), "\n".join(parts)).hex()


def _key(secret_key: str, claim: Claim | None) -> bytes:
    if claim is None or not claim.scope:
        return secret_key.encode()
    if claim.algorithm == DERIVED:  # HKDF (RFC 5869), one block; its hex text is the key
        return (
            _hmac(_hmac(claim.access_key.encode(), secret_key), f"{claim.scope}\x01").hex().encode()
        )
    key = f"SDK{secret_key}".encode()
    for part in claim.scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _encode(text: str) -> str:
    return quote(text, safe="~")
