"""What is wrong with certificates at a given moment."""

import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.regular_file import read_file

_SERVES: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
_MIN_RSA_BITS: Final = 2048
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
"""Others, and other kinds of keys, gRPC cannot load, or its clients do not take."""
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def read_certificates(file: Path) -> list[x509.Certificate]:
    """Raises OSError, and ValueError for what is not PEM."""
    return x509.load_pem_x509_certificates(read_file(file))


def chain_problems(
    chain: list[x509.Certificate], now: dt.datetime, *, expired: bool
) -> Iterator[str]:
    """The server's own: every link counts, the first must be one of a server, and each next one the
    issuer of the one before. `expired`: those are taken, too.
    """
    for certificate in chain:
        if wrong := _wrong_time(certificate, now, expired=expired):
            yield f"{_subject(certificate)} {wrong}, so that every client would refuse it. Renew it"
    if wrong := _no_server(chain[0]):
        yield f"{_subject(chain[0])} {wrong}"
    for below, above in pairwise(chain):
        if not _issued(below, above):
            text = (
                "Give the server's own certificate, then that of its issuer, then that of the"
                " issuer's issuer, and nothing else"
            )
            yield (
                f"{_subject(above)} stands after {_subject(below)} and is not its issuer's. {text}"
            )
            return
        if wrong := _no_authority(above):
            yield (
                f"{_subject(above)} {wrong}, so that clients would refuse what it has issued. Give"
                " the one of an authority"
            )


def shown_problems(chain: list[x509.Certificate], now: dt.datetime) -> Iterator[str]:
    """What the gateway shows to a server, whose rules are its own."""
    for certificate in chain:
        if wrong := _wrong_time(certificate, now, expired=False):
            yield f"{_subject(certificate)} {wrong}, so that the server would refuse it. Renew it"


def authority_problems(
    found: list[x509.Certificate], now: dt.datetime, *, alone: bool, expired: bool
) -> Iterator[str]:
    """A bundle may hold old ones beside good ones; without a good one nobody can be trusted.

    `alone`: a self-signed one of a server is good, too; `expired`: one that has expired.
    """
    wrong = [
        text
        for each in found
        if (
            text := _wrong_time(each, now, expired=expired)
            or ("" if alone and _self_signed(each) else _no_authority(each))
        )
    ]
    if len(wrong) == len(found):
        more = (
            ""
            if len(found) == 1
            else f", and none of its other {len(found) - 1} can be used now, either"
        )
        yield f"{_subject(found[0])} {wrong[0]}{more}. Give an authority that is valid"


def _wrong_time(certificate: x509.Certificate, now: dt.datetime, *, expired: bool) -> str:
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    if now >= certificate.not_valid_after_utc and not expired:
        return f"has expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    return ""


def _no_server(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    good_key = (
        key.key_size >= _MIN_RSA_BITS
        if isinstance(key, rsa.RSAPublicKey)
        else isinstance(getattr(key, "curve", None), _CURVES)
    )
    if not good_key:
        return (
            f"has a key that clients do not take. Give one whose key is RSA with {_MIN_RSA_BITS}"
            " bits or more, or EC on P-256 or P-384"
        )
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is not None and not set(usage) & _SERVES:
        return (
            "is not one for servers: its extended key usage lacks serverAuth. Give one that has it"
        )
    bits = _extension(certificate, x509.KeyUsage)
    if bits is not None and not bits.digital_signature:
        return "is not one for servers: its key usage lacks digitalSignature. Give one that has it"
    limits = _extension(certificate, x509.BasicConstraints)
    if limits is not None and limits.ca:
        return (
            "is that of an authority (CA:TRUE), which clients may refuse as a server's. Give one"
            " that was issued for the server"
        )
    return ""


def _no_authority(certificate: x509.Certificate) -> str:
    """Why nothing that it has issued would be taken."""
    limits = _extension(certificate, x509.BasicConstraints)
    if not (_self_signed(certificate) if limits is None else limits.ca):
        return "is not that of an authority (it is not CA:TRUE)"
    bits = _extension(certificate, x509.KeyUsage)
    if bits is not None and not bits.key_cert_sign:
        return "is not that of an authority (its key usage lacks keyCertSign)"
    return ""


def _self_signed(certificate: x509.Certificate) -> bool:
    return _issued(certificate, certificate)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _subject(certificate: x509.Certificate) -> str:
    return (
        f"the certificate of {certificate.subject.rfc4514_string()!r}"
        if certificate.subject.rdns
        else "the certificate"
    )
