"""The event loop of the floor and the stub: the gateway's, uvloop where it is installed."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` as `cbr-gateway serve` runs the gateway."""
    try:
        import uvloop  # noqa: PLC0415 - optional extra
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
