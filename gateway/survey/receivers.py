"""`check --online`: whether the other servers that a configuration names can be reached: those that
get records, traces and events, and issuers. A connection is made, and nothing is sent.
"""

import asyncio
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpcore
from msgspec import Struct

from gateway.config import Config
from gateway.connect_failure import ConnectFailure, Where, connect_failure
from gateway.events.addresses import AddressRefusedError, Network
from gateway.events.checked_backend import CheckedBackend
from gateway.upstream.http import tls_context

_EVERYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
_PORTS: Final = {"https": 443, "http": 80}
_OTLP_PORT: Final = 4317


class Receiver(Struct, frozen=True):
    """`setting`: where its address stands. `authorities`: the setting of the file by which it is
    known. `port`: where the address has none; 0: its scheme's.
    """

    setting: str
    url: str
    ca_file: Path | None
    authorities: str
    port: int = 0
    networks: Sequence[Network] = _EVERYWHERE

    async def problem(self, within_s: float) -> str:
        """Empty where a connection comes about."""
        try:
            async with asyncio.timeout(within_s):
                await self._connect()
        except TimeoutError:
            failure = ConnectFailure.SILENT
        except AddressRefusedError:
            return f"{self.setting} has no address that is public or in events.allowed_networks"
        except (OSError, httpcore.NetworkError, httpcore.TimeoutException) as error:
            failure = connect_failure(error)
        else:
            return ""
        advice = failure.advice(Where(self.setting, "https://", self.authorities))
        return f"{self.setting} cannot be reached: {failure.problem}; {advice}"

    async def _connect(self) -> None:
        where = urlsplit(self.url)
        host = where.hostname or ""
        port = where.port or self.port or _PORTS[where.scheme]
        stream = await CheckedBackend(self.networks).connect_tcp(host, port)
        try:
            if where.scheme == "https":
                stream = await stream.start_tls(tls_context(self.ca_file), host)
        finally:
            await stream.aclose()


async def unreachable(config: Config, within_s: float) -> list[str]:
    """What cannot be reached, and what to do."""
    asked = [each.problem(within_s) for each in _named(config)]
    return [problem for problem in await asyncio.gather(*asked) if problem]


def _named(config: Config) -> Iterator[Receiver]:
    if (otlp := config.audit.otlp) is not None:
        setting = "audit.otlp.endpoint"
        yield Receiver(setting, otlp.endpoint, otlp.ca_file, "audit.otlp.ca_file", _OTLP_PORT)
    if (tracing := config.tracing) is not None:
        yield Receiver("tracing.endpoint", tracing.endpoint, tracing.ca_file, "tracing.ca_file")
    networks = [ipaddress.ip_network(each) for each in config.events.allowed_networks]
    for sink in config.events.sinks:
        setting = f"events.sinks.{sink.name}"
        authorities = f"{setting}.ca_file"
        yield Receiver(f"{setting}.url", sink.url, sink.ca_file, authorities, 0, networks)
    transport = config.upstream.transport
    for name, issuer in config.issuers.items():
        if issuer.jwks.url is not None and transport.proxy is None:
            setting = f"issuers.{name}.jwks.url"
            authorities = "upstream.transport.ca_file"
            yield Receiver(setting, issuer.jwks.url, transport.ca_file, authorities)
