"""Whether the certificates that a configuration names serve at a given moment.

Kept out of validation: a certificate that expires while a gateway runs must not stop it from taking
over its tenants' configuration.

What reads certificates is loaded where one is configured.
"""

import contextlib
import datetime as dt
from collections.abc import Collection, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from gateway.config import Config
from gateway.config.problems import KeyPath
from gateway.state.address import parsed
from gateway.state.address_files import AUTHORITIES, CERTIFICATE, named_files

if TYPE_CHECKING:
    from cryptography import x509

Found: TypeAlias = Iterator[tuple[KeyPath, str]]


class Kind(Enum):
    """What certificates of a file are for."""

    SERVER = "this gateway shows them to its callers"
    CLIENT = "this gateway shows them to a server"
    CALLERS = "they have issued those of callers"
    SERVERS = "they have issued those of servers, or are those of servers"


class Named(Struct, frozen=True):
    """A file of certificates. `path`: the key that names it; `setting`: the same in metrics and
    logs.
    """

    path: KeyPath
    setting: str
    file: Path
    kind: Kind

    @property
    def chain(self) -> bool:
        return self.kind in {Kind.SERVER, Kind.CLIENT}


def named_certificates(config: Config) -> Iterator[Named]:
    tls, state = config.server.tls, config.state
    if tls is not None:
        yield _at("server", "tls", "certificate_file", file=tls.certificate_file, kind=Kind.SERVER)
        if (file := tls.client_ca_file) is not None:
            yield _at("server", "tls", "client_ca_file", file=file, kind=Kind.CALLERS)
    files: dict[KeyPath, Path | None] = {
        ("upstream", "transport", "ca_file"): config.upstream.transport.ca_file,
        ("audit", "otlp", "ca_file"): config.audit.otlp.ca_file if config.audit.otlp else None,
        ("tracing", "ca_file"): config.tracing.ca_file if config.tracing else None,
    }
    for path, each in files.items():
        if each is not None:
            yield _at(*map(str, path), file=each, kind=Kind.SERVERS)
    for i, sink in enumerate(config.events.sinks):
        if sink.ca_file is not None:
            setting = f"events.sinks.{sink.name}.ca_file"
            yield Named(("events", "sinks", i, "ca_file"), setting, sink.ca_file, Kind.SERVERS)
    if state.kind == "valkey" and state.url is not None:
        files_of_url = named_files(parsed(state.url.reveal()).primary)
        for name, kind in ((CERTIFICATE, Kind.CLIENT), (AUTHORITIES, Kind.SERVERS)):
            if name in files_of_url:
                yield Named(("state", "url"), f"state.url {name}", files_of_url[name], kind)


def _at(*path: str, file: Path, kind: Kind) -> Named:
    return Named(path, ".".join(path), file, kind)


def out_of_service(config: Config, now: dt.datetime) -> Found:
    """Key path and sentence for each certificate that would be refused at `now` (aware)."""
    tls = config.server.tls
    for each in named_certificates(config):
        own = each.kind in {Kind.SERVER, Kind.CALLERS}
        expired = own and tls is not None and tls.start_expired
        yield from ((each.path, text) for text in _problems(each, now, expired=expired))


def check_files(config: Config, files: Collection[Path], now: dt.datetime) -> None:
    """Raises ValueError where one of these files holds what cannot be used at `now` (aware)."""
    for each in named_certificates(config):
        if each.file in files:
            for text in _problems(each, now, expired=False):
                raise ValueError(text)


def expiries(config: Config) -> dict[str, float]:
    """When what each setting names stops to serve, in seconds since 1970: the first certificate of
    a chain, the last authority of a bundle. Files that cannot be read are left out.
    """
    found = {}
    for each in named_certificates(config):
        from gateway.config.certificate_rules import read_certificates  # noqa: PLC0415 - see above

        with contextlib.suppress(OSError, ValueError):
            ends = [one.not_valid_after_utc.timestamp() for one in read_certificates(each.file)]
            found[each.setting] = (min if each.chain else max)(ends)
    return found


def _problems(named: Named, now: dt.datetime, *, expired: bool) -> Iterator[str]:
    """What is wrong with a file's certificates, also where they cannot be read."""
    from gateway.config.certificate_rules import read_certificates  # noqa: PLC0415 - see above

    # A url names several files, and is not shown.
    where = named.setting.partition(" ")[2]
    prefix = f"{where}: " if where else ""
    try:
        for text in _rules(named.kind, read_certificates(named.file), now, expired=expired):
            yield f"{prefix}{text}"
    except (OSError, ValueError) as error:
        yield (
            f"{prefix}cannot be read as certificates in PEM:"
            f" {getattr(error, 'strerror', None) or 'not PEM'}. Give the path of such a file"
        )


def _rules(
    kind: Kind, found: "list[x509.Certificate]", now: dt.datetime, *, expired: bool
) -> Iterator[str]:
    from gateway.config.certificate_rules import (  # noqa: PLC0415 - see above
        authority_problems,
        chain_problems,
        shown_problems,
    )

    match kind:
        case Kind.SERVER:
            return chain_problems(found, now, expired=expired)
        case Kind.CLIENT:
            return shown_problems(found, now)
        case _:
            return authority_problems(found, now, alone=kind is Kind.SERVERS, expired=expired)
