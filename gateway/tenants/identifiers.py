"""Texts that describe a tenant, each with the form it must have and the words for another."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from gateway.upstream.declaration import IDENTIFIER

_IDENTIFIER: Final = re.compile(IDENTIFIER)
_ENTERPRISE_PROJECT: Final = re.compile(r"0|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PERMISSION: Final = re.compile(r"cbr(gateway)?:[A-Za-z]+:([A-Za-z]+|\*)")
_SPIFFE: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
_DNS: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*"
)
_SUBJECT: Final = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")


def _identifier(value: str) -> str:
    """The same allow-list that path variables obey: a project id becomes part of a URL."""
    if not _IDENTIFIER.fullmatch(value) or value in {".", ".."}:
        raise ValueError(
            "is not an identifier. Use 1 to 128 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`"
        )
    return value


def _enterprise_project(value: str) -> str:
    """No such id is the beginning of another, so that names can begin with one."""
    if not _ENTERPRISE_PROJECT.fullmatch(value):
        raise ValueError(
            "is not the id of an enterprise project. Copy it from the console: 36 characters with"
            " hyphens, or 0 for the default one"
        )
    return value


def _sha256(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError(
            "is not a SHA-256 hash of 64 digits in lower-case hex. Make a key with `cbr-gateway"
            " keys new` and paste the lines it prints"
        )
    return value


def _permission(value: str) -> str:
    if not _PERMISSION.fullmatch(value):
        raise ValueError(
            "is not an action. Write one that `cbr-gateway explain` shows, such as cbr:vaults:get,"
            " or a whole kind: cbr:vaults:*"
        )
    return value


def spiffe_id(value: str) -> str:
    """A SPIFFE id in its only legal spelling; no other text is one. Raises ValueError."""
    if not _SPIFFE.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise ValueError(
            "is not a SPIFFE id. Write spiffe://trust-domain/path with a trust domain in lower"
            " case, no port, no query and no empty part"
        )
    return value


def dns_name(value: str) -> str:
    """A host name in lower case.

    A wildcard is none: a certificate for `*.example` must not be anyone in particular. Raises
    ValueError.
    """
    if not _DNS.fullmatch(value):
        raise ValueError(
            "is not a DNS name. Write a whole host name in lower case, without a wildcard and"
            " without a closing dot"
        )
    return value


def _subject(value: str) -> str:
    if not _SUBJECT.fullmatch(value):
        raise ValueError(
            "is not a subject. Copy the claim `sub` as the issuer writes it: 1 to 255 characters of"
            " printable ASCII"
        )
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
EnterpriseProject = Annotated[str, AfterValidator(_enterprise_project)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
Permission = Annotated[str, AfterValidator(_permission)]
SpiffeId = Annotated[str, AfterValidator(spiffe_id)]
DnsName = Annotated[str, AfterValidator(dns_name)]
Subject = Annotated[str, AfterValidator(_subject)]
