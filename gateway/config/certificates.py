"""Whether the certificates that a configuration names serve at a given moment.

Kept out of validation: a certificate that expires while a gateway runs must not stop it from taking over its tenants' configuration.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.audit.settings import AuditSettings
from gateway.config.problems import KeyPath
from gateway.rpc.settings import TlsSettings
from gateway.upstream.http import TransportSettings

_SERVES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def out_of_service(tls: TlsSettings | None, transport: TransportSettings, audit: AuditSettings, now: dt.datetime) -> Iterator[tuple[KeyPath, str]]:
    """Key path and sentence for each certificate that clients or servers would refuse at `now` (aware)."""
    if tls is not None:
        yield from _chain(tls.certificate_file, ("server", "tls", "certificate_file"), now)
        yield from _authorities(tls.client_ca_file, ("server", "tls", "client_ca_file"), now)
    yield from _authorities(transport.ca_file, ("upstream", "transport", "ca_file"), now)
    if audit.otlp is not None:
        yield from _authorities(audit.otlp.ca_file, ("audit", "otlp", "ca_file"), now)


def _chain(file: Path, path: KeyPath, now: dt.datetime) -> Iterator[tuple[KeyPath, str]]:
    """The server's own: every link counts, and the first must be one of a server."""
    chain = x509.load_pem_x509_certificates(file.read_bytes())
    for certificate in chain:
        if wrong := _wrong_time(certificate, now):
            yield path, f"{_subject(certificate)} {wrong}, so that every client would refuse it. Renew it"
    try:
        usage = set(chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not usage & _SERVES:
        yield path, f"{_subject(chain[0])} is not one for servers: its extended key usage lacks serverAuth. Give one that has it"


def _authorities(file: Path | None, path: KeyPath, now: dt.datetime) -> Iterator[tuple[KeyPath, str]]:
    """A bundle may hold old ones beside good ones; without a good one nobody can be trusted."""
    if file is None:
        return
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        yield path, f"cannot be read as certificates in PEM: {getattr(error, 'strerror', None) or 'not PEM'}. Give the path of such a file"
        return
    wrong = [text for each in found if (text := _wrong_time(each, now))]
    if len(wrong) == len(found):
        more = "" if len(found) == 1 else f", and none of its other {len(found) - 1} is valid now, either"
        yield path, f"{_subject(found[0])} {wrong[0]}{more}. Give an authority that is valid"


def _wrong_time(certificate: x509.Certificate, now: dt.datetime) -> str:
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    if now >= certificate.not_valid_after_utc:
        return f"has expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    return ""


def _subject(certificate: x509.Certificate) -> str:
    return f"the certificate of {certificate.subject.rfc4514_string()!r}" if certificate.subject.rdns else "the certificate"
