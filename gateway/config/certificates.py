"""Whether the certificates that a configuration names serve at a given moment.

Kept out of validation: a certificate that expires while a gateway runs must not stop it from taking
over its tenants' configuration.

What reads certificates is loaded where one is configured.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gateway.audit.settings import AuditSettings
from gateway.config.problems import KeyPath
from gateway.events.settings import EventSettings
from gateway.rpc.settings import TlsSettings
from gateway.tracing.settings import TracingSettings
from gateway.upstream.http import TransportSettings

if TYPE_CHECKING:
    from cryptography import x509

Found: TypeAlias = Iterator[tuple[KeyPath, str]]
_Problems: TypeAlias = "Callable[[list[x509.Certificate]], Iterator[str]]"


def out_of_service(
    tls: TlsSettings | None,
    transport: TransportSettings,
    audit: AuditSettings,
    events: EventSettings,
    tracing: TracingSettings | None,
    *,
    now: dt.datetime,
) -> Found:
    """Key path and sentence for each certificate that would be refused at `now` (aware)."""
    files: dict[KeyPath, Path | None] = {
        ("upstream", "transport", "ca_file"): transport.ca_file,
        ("audit", "otlp", "ca_file"): audit.otlp.ca_file if audit.otlp else None,
        **{("events", "sinks", i, "ca_file"): sink.ca_file for i, sink in enumerate(events.sinks)},
        ("tracing", "ca_file"): tracing.ca_file if tracing else None,
    }
    if tls is not None:
        path: KeyPath = ("server", "tls", "certificate_file")
        expired = tls.start_expired
        yield from _chain_problems(tls.certificate_file, path, now, expired=expired)
        if (file := tls.client_ca_file) is not None:
            path = ("server", "tls", "client_ca_file")
            yield from _authority_problems(file, path, now, alone=False, expired=expired)
    for path, file in files.items():
        if file is not None:
            yield from _authority_problems(file, path, now, alone=True)


def check_server(tls: TlsSettings, now: dt.datetime) -> None:
    """Raises ValueError or OSError where the server's files cannot be used at `now` (aware)."""
    tls.check_files()
    problems = list(_chain_problems(tls.certificate_file, (), now))
    if tls.client_ca_file is not None:
        problems += _authority_problems(tls.client_ca_file, (), now, alone=False)
    if problems:
        raise ValueError(problems[0][1])


def check_authorities(file: Path, now: dt.datetime) -> None:
    """The same for authorities by which other servers are known."""
    for _, text in _authority_problems(file, (), now, alone=True):
        raise ValueError(text)


def expiries(
    tls: TlsSettings | None,
    transport: TransportSettings,
    audit: AuditSettings,
    events: EventSettings,
    tracing: TracingSettings | None,
) -> dict[str, float]:
    """When what each setting names stops to serve, in seconds since 1970: the first certificate of
    a chain, the last authority of a bundle. Files that cannot be read are left out.
    """
    files: dict[str, tuple[Path | None, Callable[[Iterable[float]], float]]] = {
        "server.tls.certificate_file": (tls.certificate_file if tls else None, min),
        "server.tls.client_ca_file": (tls.client_ca_file if tls else None, max),
        "upstream.transport.ca_file": (transport.ca_file, max),
        "audit.otlp.ca_file": (audit.otlp.ca_file if audit.otlp else None, max),
        **{f"events.sinks.{sink.name}.ca_file": (sink.ca_file, max) for sink in events.sinks},
        "tracing.ca_file": (tracing.ca_file if tracing else None, max),
    }
    found = {}
    for setting, (file, one) in files.items():
        if file is not None:
            from gateway.config.certificate_rules import read_certificates  # noqa: PLC0415

            with contextlib.suppress(OSError, ValueError):
                certificates = read_certificates(file)
                found[setting] = one(each.not_valid_after_utc.timestamp() for each in certificates)
    return found


def _chain_problems(file: Path, path: KeyPath, now: dt.datetime, *, expired: bool = False) -> Found:
    from gateway.config.certificate_rules import chain_problems  # noqa: PLC0415 - see above

    return _read(file, path, lambda chain: chain_problems(chain, now, expired=expired))


def _authority_problems(
    file: Path, path: KeyPath, now: dt.datetime, *, alone: bool, expired: bool = False
) -> Found:
    from gateway.config.certificate_rules import authority_problems  # noqa: PLC0415 - see above

    return _read(
        file, path, lambda found: authority_problems(found, now, alone=alone, expired=expired)
    )


def _read(file: Path, path: KeyPath, problems: _Problems) -> Found:
    """What is wrong with a file's certificates, also where they cannot be read."""
    from gateway.config.certificate_rules import read_certificates  # noqa: PLC0415 - see above

    try:
        for text in problems(read_certificates(file)):
            yield path, text
    except (OSError, ValueError) as error:
        yield (
            path,
            (
                "cannot be read as certificates in PEM:"
                f" {getattr(error, 'strerror', None) or 'not PEM'}. Give the path of such a file"
            ),
        )
