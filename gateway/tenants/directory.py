"""From an API key to the tenant behind it.

Keys are looked up by their hash. An attacker who measures the time of the look-up learns about hashes at best, and cannot choose a key by its hash.
So no constant-time comparison is needed, nor a slow hash: a key is 256 random bits, not a password.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.tenants.tenant import Tenant

KEY_PREFIX = "cbrgw_"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a tenant, and by which of its keys."""

    tenant: Tenant
    key_id: str


class TenantDirectory:
    """All tenants of one configuration; immutable. The configuration has made sure that no two keys share a hash."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        self._by_hash = {key.sha256: Principal(tenant, key.id) for tenant in tenants for key in tenant.api_keys}

    def by_api_key(self, key: str) -> Principal | None:
        """The holder of `key`; None for anything that is not a known key, however malformed."""
        return self._by_hash.get(key_hash(key))


def key_hash(key: str) -> str:
    """SHA-256 in lower-case hex, as the configuration holds it. Any string has one, lone surrogates included."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def new_api_key() -> tuple[str, str]:
    """A new random key, `cbrgw_` and 43 URL-safe characters, and its hash for the configuration."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, key_hash(key)
