"""The public keys of an issuer, from a JSON Web Key Set.

Keys that could not be meant for signatures of tokens are passed over: shared secrets (a public key
taken for one is the classic forgery), private keys, encryption keys, short RSA keys.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from joserfc.errors import JoseError
from msgspec import Struct

from gateway.upstream import strict_json

if TYPE_CHECKING:
    from joserfc.jwk import Key

MAX_BYTES: Final = 64 * 1024
_MAX_KEYS: Final = 100
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MAX_EXPONENT_TEXT: Final = 6
_CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class KeySetError(ValueError):
    """A text that is not a usable key set. The message continues a sentence that names the text."""


class VerifyingKey(Struct, frozen=True):
    """A public key. `kid` is empty and `algorithm` is None where the set names none.

    `curve`: of an EC key; empty for an RSA key.
    """

    kid: str
    algorithm: str | None
    key: "Key"
    curve: str = ""

    def serves(self, algorithm: str) -> bool:
        """Whether it can check signatures of that kind, by its own word and by its form."""
        if self.algorithm not in (None, algorithm):
            return False
        if self.curve:
            return self.curve == _CURVES.get(algorithm)
        return algorithm[:2] in {"RS", "PS"}


def read_keys(body: bytes) -> tuple[VerifyingKey, ...]:
    """The usable keys of a key set, at least one. Raises KeySetError."""
    if len(body) > MAX_BYTES:
        raise KeySetError(f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        document = strict_json.loads(body)
    except strict_json.NotJson as error:
        raise KeySetError("is not JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise KeySetError(f"is not a key set of at most {_MAX_KEYS} keys")
    keys = tuple(
        key for entry in entries if isinstance(entry, dict) and (key := _key(entry)) is not None
    )
    if not keys:
        raise KeySetError("holds no public RSA or EC key for signatures")
    return keys


def _key(entry: dict[str, Any]) -> VerifyingKey | None:
    kid, algorithm, operations = (
        entry.get("kid", ""),
        entry.get("alg"),
        entry.get("key_ops", ["verify"]),
    )
    named = isinstance(kid, str) and isinstance(algorithm, str | None)
    if (
        not named
        or "d" in entry
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    try:
        key = _imported(entry)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return VerifyingKey(kid, algorithm, *key) if key is not None else None


def _imported(entry: dict[str, Any]) -> "tuple[Key, str] | None":
    """The key and its curve."""
    # Here, since most gateways have no issuers.
    from joserfc.jwk import ECKey, RSAKey  # noqa: PLC0415

    curve = ""
    match entry:
        case {"kty": "EC", "crv": "P-256" | "P-384" | "P-521" as named, "x": str(x), "y": str(y)}:
            key: Key = ECKey.import_key({"kty": "EC", "crv": named, "x": x, "y": y})
            curve = named
        case {"kty": "RSA", "n": str(n), "e": str(e)} if len(e) <= _MAX_EXPONENT_TEXT:
            # A modulus or an exponent without bounds would make every check of a signature slow.
            if (
                not _MIN_RSA_BITS
                <= int.from_bytes(urlsafe_b64decode(n + "==")).bit_length()
                <= _MAX_RSA_BITS
            ):
                return None
            key = RSAKey.import_key({"kty": "RSA", "n": n, "e": e})
        case _:
            return None
    # joserfc builds it when it is first asked for: a point off the curve is found now
    _ = key.public_key
    return key, curve
