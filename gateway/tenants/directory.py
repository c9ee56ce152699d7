"""From what a caller shows to the tenant behind it: an API key, a signed token, a client
certificate.

Keys are looked up by their hash. An attacker who measures the time of the look-up learns about
hashes at best, and cannot choose a key by its hash. So no constant-time comparison is needed, nor a
slow hash: a key is 256 random bits, not a password.
"""

import hashlib
import math
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from gateway.clock import Clock, SystemClock
from gateway.tenants.authentication_error import AuthenticationError
from gateway.tenants.certificate import Certificates
from gateway.tenants.grant import Grant
from gateway.tenants.principal import PrincipalSettings
from gateway.tenants.tenant import Tenant
from gateway.tenants.token import Issuer, TokenVerifier, looks_like_token

KEY_PREFIX = "cbrgw_"
_KEY_BYTES = 32
Proof = tuple[str, ...]
"""What a principal is found by: its kind, and the values that name one of that kind."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a tenant, which of its callers, and what that one may do.

    `recognised_by`: api_key, jwt, spiffe or dns_san. `valid_until`: when what the caller has shown
    ends by itself, in seconds since 1970; infinite for an API key.
    """

    tenant: Tenant
    id: str
    grant: Grant
    recognised_by: str = field(default="", compare=False)
    valid_until: float = math.inf


class TenantDirectory:
    """All tenants of one configuration; immutable.

    The configuration has made sure that nothing leads to two principals.
    """

    def __init__(
        self, tenants: Iterable[Tenant], issuers: Iterable[Issuer] = (), clock: Clock | None = None
    ) -> None:
        known_clock = clock or SystemClock()
        self.tenants = {tenant.id: tenant for tenant in tenants}
        """By id."""
        self._principals = {
            proof: principal
            for tenant in self.tenants.values()
            for proof, principal in _principals(tenant)
        }
        self._tokens = TokenVerifier(issuers, known_clock)
        self._certificates = Certificates(known_clock)
        self.reads_certificates = any(
            proof[0] in {"spiffe", "dns_san"} for proof in self._principals
        )
        """Whether a certificate can lead to anyone."""

    def by_api_key(self, key: str) -> Principal | None:
        """The holder of `key`; None for anything that is not a known key, however malformed."""
        return self._principals.get(("api_key", key_hash(key)))

    async def by_token(self, text: str) -> Principal:
        """The holder of a token.

        Raises AuthenticationError, also for what may be an API key that is not known.
        """
        if not looks_like_token(text):
            raise AuthenticationError(
                "the API key is not known; check it, or ask this gateway's operator for one"
            )
        issuer, subject, until = await self._tokens.verified(text)
        principal = self._principals.get(("jwt", issuer, subject))
        if principal is None:
            raise AuthenticationError("the token's subject (sub) is not a principal of any tenant")
        return replace(principal, valid_until=until)

    def by_certificate(self, pem: bytes) -> Principal | None:
        """The holder of a certificate that TLS has verified; None when its names are nobody's.

        Raises AuthenticationError.
        """
        names = self._certificates.names(pem)
        proofs: list[Proof] = [("dns_san", host) for host in names.dns]
        if names.spiffe is not None:
            proofs.append(("spiffe", names.spiffe))
        found = [
            principal for proof in proofs if (principal := self._principals.get(proof)) is not None
        ]
        if len(found) > 1:
            raise AuthenticationError(
                "the names in the client certificate mean more than one principal"
            )
        return replace(found[0], valid_until=names.valid_until) if found else None


def _principals(tenant: Tenant) -> Iterator[tuple[Proof, Principal]]:
    whole = Grant("administrator" if tenant.administrator else "operator")
    for key in tenant.api_keys:
        yield ("api_key", key.sha256), Principal(tenant, key.id, whole, "api_key")
    for entry in tenant.principals:
        shown = proof(entry)
        yield shown, Principal(tenant, entry.id, entry.grant, shown[0])


def proof(entry: PrincipalSettings) -> Proof:
    """What leads to the principal."""
    if entry.jwt is not None:
        return "jwt", entry.jwt.issuer, entry.jwt.subject
    kind, value = next(
        (kind, value)
        for kind in ("api_key", "spiffe", "dns_san")
        if (value := getattr(entry, kind)) is not None
    )
    return kind, value


def key_hash(key: str) -> str:
    """SHA-256 in lower-case hex, as the configuration holds it.

    Any string has one, lone surrogates included.
    """
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def new_api_key() -> tuple[str, str]:
    """A new random key, `cbrgw_` and 43 URL-safe characters, and its hash for the configuration."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, key_hash(key)
