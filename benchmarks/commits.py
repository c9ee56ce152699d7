"""How many records the audit log makes durable, by how many wait at once: what a sync costs, and
how far it is shared.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.audit import events
from gateway.audit.chain import Keys
from gateway.audit.events import own_record
from gateway.audit.intents import Entry
from gateway.audit.sinks import FileSink
from gateway.audit.writer import Writer

WAITING: Final = (1, 32, 256)
_MANY: Final = 1 << 40
_TIMEOUT_S: Final = 30.0


async def _records_per_s(directory: Path, waiting: int, measure_s: float) -> float:
    sink = FileSink(
        directory,
        f"w{waiting}",
        Keys.of("the-key-of-the-benchmark"),
        max_bytes=_MANY,
        max_age_s=3600,
    )
    writer = Writer(sink, timeout_s=_TIMEOUT_S, anchor_s=3600)
    writer.start()
    written = 0
    begun = time.perf_counter()

    async def work() -> None:
        nonlocal written
        while time.perf_counter() - begun < measure_s:
            await writer.durable(
                Entry(
                    own_record(
                        events.CHANGE_SETTLED,
                        subject="a-call",
                        tenant="bench",
                        operation="VaultService/DeleteVault",
                    )
                )
            )
            written += 1

    await asyncio.gather(*(work() for _ in range(waiting)))
    took = time.perf_counter() - begun
    await writer.aclose()
    return written / took


def commits(directory: Path, measure_s: float) -> Mapping[int, float]:
    """Waiting at once -> records a second."""
    return {
        waiting: asyncio.run(_records_per_s(directory, waiting, measure_s)) for waiting in WAITING
    }
