r"""The names in a client certificate that TLS has already verified.

They are read from the certificate itself: grpc's own list of names is cut at a NUL, so that
`bank.example\0.evil` would read as `bank.example`.
"""

from typing import Final

from msgspec import Struct

from gateway.clock import Clock
from gateway.tenants.authentication_error import AuthenticationError
from gateway.tenants.identifiers import dns_name, spiffe_id

_CACHED: Final = 1024
_SPIFFE: Final = "spiffe:"


class Names(Struct, frozen=True):
    """Who a certificate is for, and until when (seconds since 1970).

    Names that nobody can be given, such as wildcards, are left out.
    """

    spiffe: str | None
    dns: frozenset[str]
    valid_from: float
    valid_until: float


class Certificates:
    """Reads certificates; keeps those seen lately, as all calls of a connection show one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[bytes, Names] = {}

    def names(self, pem: bytes) -> Names:
        """The names, while the certificate is valid: a connection may outlive it.

        Raises AuthenticationError.
        """
        names = self._known.get(pem)
        if names is None:
            names = _read(pem)
            if len(self._known) >= _CACHED:
                self._known.clear()
            self._known[pem] = names
        if not names.valid_from <= self._clock.time() < names.valid_until:
            raise AuthenticationError("the client certificate is not valid at this time")
        return names


def _read(pem: bytes) -> Names:
    # Here, since most gateways ask for no certificates; those that do have it by then, since they
    # have checked their own.
    from cryptography import x509  # noqa: PLC0415

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris, hosts = (
            found.get_values_for_type(x509.UniformResourceIdentifier),
            found.get_values_for_type(x509.DNSName),
        )
        until = certificate.not_valid_after_utc.timestamp()
        begin = certificate.not_valid_before_utc.timestamp()
    except x509.ExtensionNotFound:
        return Names(
            None,
            frozenset(),
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
        )
    except ValueError as error:
        raise AuthenticationError(
            "the client certificate has a malformed list of names (SAN)"
        ) from error
    return Names(
        _spiffe(uris),
        frozenset(host.lower() for host in hosts if _is_host(host.lower())),
        begin,
        until,
    )


def _spiffe(uris: list[str]) -> str | None:
    """The certificate's SPIFFE id.

    Such a certificate holds exactly one URI. Source: SPIFFE X.509-SVID, section 2.
    """
    if not any(uri.lower().startswith(_SPIFFE) for uri in uris):
        return None
    if len(uris) != 1:
        raise AuthenticationError("the client certificate holds a SPIFFE id beside another URI")
    try:
        return spiffe_id(uris[0])
    except ValueError as error:
        raise AuthenticationError("the client certificate holds a malformed SPIFFE id") from error


def _is_host(text: str) -> bool:
    try:
        dns_name(text)
    except ValueError:
        return False
    return True
