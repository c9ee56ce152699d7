"""The files of certificates that the address of a shared store names."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from gateway.secret import Secret

CERTIFICATE: Final = "ssl_certfile"
AUTHORITIES: Final = "ssl_ca_certs"
_PAIR: Final = (CERTIFICATE, "ssl_keyfile")


def named_files(server: Secret) -> dict[str, Path]:
    """Of certificates, by the parameter of the address that names each."""
    given = dict(parse_qsl(urlsplit(server.reveal()).query))
    return {name: Path(given[name]) for name in (CERTIFICATE, AUTHORITIES) if given.get(name)}


def check_files(server: Secret) -> None:
    """`server`: its address. Raises ValueError with the end of a sentence."""
    given = dict(parse_qsl(urlsplit(server.reveal()).query))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate, key = (given.get(name) for name in _PAIR)
    if certificate or key:
        password = given.get("ssl_password", "")
        _tried(_PAIR, lambda: context.load_cert_chain(certificate or "", key, password))
    authorities = given.get(AUTHORITIES), given.get("ssl_ca_path")
    if any(authorities):
        _tried((AUTHORITIES,), lambda: context.load_verify_locations(*authorities))
    if ciphers := given.get("ssl_ciphers"):
        _tried(("ssl_ciphers",), lambda: context.set_ciphers(ciphers))


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or "not PEM, or no such words"


def _tried(names: tuple[str, ...], use: Callable[[], None]) -> None:
    given = " and ".join(names)
    try:
        use()
    except ssl.SSLError as error:
        raise ValueError(
            f"has a url whose {given} cannot be used ({_reason(error)}). Give files in"
            " PEM, a certificate with its own key, or words that OpenSSL knows"
        ) from error
    except OSError as error:
        raise ValueError(
            f"has a url whose {given} cannot be read: {error.strerror}. Give the paths of files"
            " that this user may read"
        ) from error
