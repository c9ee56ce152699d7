"""Issuers of tokens and certificate authorities for tests: real keys, real signatures, and ways to
make both wrong.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

ISSUER, AUDIENCE = "https://issuer.example", "cbr-gateway"
DROP = object()
"""A claim of this value is left out."""


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: Mapping[str, object], payload: bytes, signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(payload)}.{b64(signature)}"


def claims(now: float, **changes: object) -> dict[str, object]:
    """Those of a good token, with changes."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ci", "iat": int(now), "exp": int(now) + 600}
    return {name: value for name, value in (good | changes).items() if value is not DROP}


def signed(
    key: RSAKey | ECKey, payload: Mapping[str, object] | bytes, algorithm: str, **header: object
) -> str:
    """A token that `key` really signed, whatever it says."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = {
        name: value
        for name, value in ({"alg": algorithm, "kid": key.kid, "typ": "JWT"} | header).items()
        if value is not DROP
    }
    signing = f"{b64(json.dumps(head).encode())}.{b64(body)}"
    signature = jws.JWSRegistry.algorithms[algorithm].sign(signing.encode(), key)
    return f"{signing}.{b64(signature)}"


def hmac_signed(secret: bytes, payload: Mapping[str, object], **header: object) -> str:
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT"} | header).encode())
    signing = f"{head}.{b64(json.dumps(payload).encode())}"
    return f"{signing}.{b64(hmac.new(secret, signing.encode(), hashlib.sha256).digest())}"


def key_set(*keys: RSAKey | ECKey) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def authority(name: str = "authority") -> Pair:
    return _pair(name, None, (), timedelta(days=1), ca=True)


def certificate(
    issuer: Pair, *names: x509.GeneralName, lasts: timedelta = timedelta(days=1)
) -> Pair:
    """A certificate for `names`; one that lasts for a negative time has expired."""
    return _pair("holder", issuer, names, lasts, ca=False)


def dns(name: str) -> x509.GeneralName:
    return x509.DNSName(name)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def _pair(
    name: str,
    issuer: Pair | None,
    names: tuple[x509.GeneralName, ...],
    lasts: timedelta,
    *,
    ca: bool,
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer.certificate.subject if issuer else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        now - timedelta(days=2),
        now + lasts,
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)
