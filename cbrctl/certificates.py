"""The PEM files of a connection with TLS: looked at before they are used, since what libraries say
of a wrong one helps nobody.
"""

import ssl
from pathlib import Path
from typing import Final

from cbrctl.contexts import Context

_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_KEY: Final = "PRIVATE KEY-----"
_LOCKED: Final = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")


def check(context: Context) -> None:
    """Raises ValueError for a file that cannot be what its option says."""
    if ca := context.ca_file:
        _holds_certificate(ca, "--ca-file", "those of the authorities that vouch for the gateway")
        try:
            ssl.create_default_context(cafile=ca)
        except ssl.SSLError as error:
            raise _broken(ca, "--ca-file", "certificate") from error
    own, key = context.certificate_file, context.key_file
    if own and key:
        _pair(own, key)
    elif own or key:
        there, missing = ("--certificate-file", "--key-file")[:: 1 if own else -1]
        raise ValueError(f"{there} is given without {missing}: name both, or neither")


def _pair(own: str, key: str) -> None:
    _holds_certificate(own, "--certificate-file", "that of the caller")
    text = _text(key, "--key-file")
    if any(words in text for words in _LOCKED):
        raise ValueError(
            f"--key-file {key} is locked with a password, which cannot be asked for here. Name one"
            " without, that only you can read"
        )
    if _KEY not in text:
        raise ValueError(f"--key-file {key} holds no private key in PEM. Name the file that does")
    try:
        ssl.create_default_context().load_cert_chain(own, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(
                f"--key-file {key} is not the key of the certificate in {own}. Name those that"
                " belong together"
            ) from error
        raise _broken(own, "--certificate-file", f"certificate, or {key} a key,") from error


def _holds_certificate(file: str, option: str, wanted: str) -> None:
    text = _text(file, option)
    if _CERTIFICATE not in text:
        there = "a private key, and no certificate" if _KEY in text else "no certificate in PEM"
        raise ValueError(f"{option} {file} holds {there}. Name a file of certificates: {wanted}")


def _text(file: str, option: str) -> str:
    try:
        return Path(file).read_text("latin-1")
    except OSError as error:
        raise ValueError(f"{option} {file} cannot be read: {error.strerror}") from error


def _broken(file: str, option: str, what: str) -> ValueError:
    return ValueError(f"{option} {file} holds a {what} that cannot be read. Copy it again")
