"""The process: event loop, configuration and certificates; and what the library finds in /proc."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric

from gateway.metrics.durations import BRIEF_SECONDS, Durations
from gateway.metrics.family import Family
from gateway.metrics.readings import Readings

BUILD: Final = Family(
    "cbr_build_info", "gauge", "Always 1; the version is in the label.", ("version",)
)
CONFIGURATION: Final = Family(
    "cbr_config_info", "gauge", "Always 1; the version of the configuration in use.", ("version",)
)
RELOADED: Final = Family(
    "cbr_config_last_reload_successful",
    "gauge",
    "0 if the last reload was refused, so that an older configuration is in use; else 1.",
    together="min",
)
LOOP_DELAY: Final = Family(
    "cbr_event_loop_delay_seconds",
    "histogram",
    "How much later than asked for the event loop comes to its work, looked at twice a second.",
)
CERTIFICATE: Final = Family(
    "cbr_tls_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the first certificate of a chain that the gateway shows expires, or the last authority of"
    " a bundle, by the setting that names the file.",
    ("setting",),
    together="min",
)
RENEWED: Final = Family(
    "cbr_tls_last_renewal_successful",
    "gauge",
    "0 if the files of the setting hold something that cannot be used, so that older certificates"
    " are in use; else 1.",
    ("setting",),
    together="min",
)
STANDARD: Final = (
    Family("process_start_time_seconds", "gauge", "When the process started.", together="min"),
    Family("process_cpu_seconds_total", "counter", "CPU time, of all threads."),
    Family("process_resident_memory_bytes", "gauge", "Memory in use.", together="sum"),
    Family("process_virtual_memory_bytes", "gauge", "Address space.", together="sum"),
    Family("process_open_fds", "gauge", "Open files and sockets.", together="sum"),
    Family("process_max_fds", "gauge", "How many it may open.", together="min"),
)
"""The library's own."""
FAMILIES: Final = (BUILD, CONFIGURATION, RELOADED, LOOP_DELAY, CERTIFICATE, RENEWED, *STANDARD)

_LOOK_S: Final = 0.5


class ProcessParts(Struct, frozen=True):
    """What is looked at. `expiries`: by setting, in seconds since 1970. `certificates_refused`: by
    setting, whether its files hold something that cannot be used.
    """

    configuration: Callable[[], str]
    reload_refused: Callable[[], bool]
    expiries: Callable[[], Mapping[str, float]]
    certificates_refused: Callable[[], Mapping[str, bool]]


class ProcessMetrics:
    """Watches the event loop, and looks at the rest."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._delay = Durations(BRIEF_SECONDS)
        ProcessCollector(registry=registry)

    def look_at(self, parts: ProcessParts, readings: Readings) -> None:
        own = version("cbr-gateway")

        def read() -> Iterable[Metric]:
            yield BUILD.gauge([((own,), 1)])
            yield CONFIGURATION.gauge([((parts.configuration(),), 1)])
            yield RELOADED.one(not parts.reload_refused())
            yield LOOP_DELAY.histogram([((), self._delay)])
            yield CERTIFICATE.gauge(((name,), at) for name, at in parts.expiries().items())
            yield RENEWED.gauge(
                ((name,), not refused) for name, refused in parts.certificates_refused().items()
            )

        readings.add(read)

    async def watch_loop(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self._delay.add(max(0.0, loop.time() - due))
