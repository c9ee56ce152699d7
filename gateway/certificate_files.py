"""The files of certificates that a configuration names, each with the part that has read it."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.config import Config
from gateway.config.certificates import check_files, expiries
from gateway.renewal import Renewable, Renewals, Use
from gateway.rpc.server_certificate import Certificate
from gateway.upstream.http import TransportSettings, tls_context
from gateway.upstream.transport import OpenTransport


def renewals(
    config: Config,
    clock: Clock,
    servers: Sequence[Certificate],
    transport: OpenTransport,
    read: Iterable[Renewable],
    *,
    warns: bool,
) -> Renewals:
    """What is renewed without a restart: with `read`, what others have told already. `warns`: of
    what ends soon.
    """

    def check(files: Collection[Path]) -> None:
        check_files(config, files, dt.datetime.fromtimestamp(clock.time(), dt.UTC))

    found = Renewals(clock, check, lambda: expiries(config), warns=warns)
    for renewable in (
        *_of_servers(servers),
        *_of_cloud(config.upstream.transport, transport),
        *read,
    ):
        found.add(renewable)
    return found


def _of_servers(servers: Sequence[Certificate]) -> Iterator[Renewable]:
    """They have the same files."""
    if not servers:
        return
    tls = servers[0].tls

    def read() -> Use:
        tls.check_files()
        fresh: list[tuple[Certificate, Any]] = [(each, each.read()) for each in servers]

        def use() -> None:
            for each, content in fresh:
                each.use(content)

        return use

    files = tls.certificate_file, tls.key_file, tls.client_ca_file
    yield Renewable("server.tls", tuple(filter(None, files)), read)


def _of_cloud(settings: TransportSettings, transport: OpenTransport) -> Iterator[Renewable]:
    file = settings.ca_file
    if file is None:
        return

    def read() -> Use:
        fresh = tls_context(file)
        return lambda: transport.trust(fresh)

    yield Renewable("upstream.transport.ca_file", (file,), read)
