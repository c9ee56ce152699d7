"""The process that has the embedded store for the workers of this machine.

`listener` is the descriptor of the socket on which workers ask. It belongs to the parent, so that
whoever asks while an owner is replaced waits for the next one. `parent` is the descriptor of a
connection to the parent: once that has ended and nobody is connected any more, the owner ends.
"""

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from gateway import telemetry
from gateway.clock import SystemClock
from gateway.frames import Frames
from gateway.state.errors import StoreDown
from gateway.state.opening import open_shared
from gateway.state.owner import Owner
from gateway.state.settings import StoreSettings

LISTENING: Final = b"listening"
"""What an owner tells its parent once it can be asked; anything else is why it cannot."""


class Order(msgspec.Struct, frozen=True):
    """What the parent tells an owner at its start. `log`: the settings of logs, as JSON."""

    path: str
    timeout_s: float
    replay_ttl_s: float
    follows: bool
    log: str


async def own(order: Order, listener: int, parent_link: int) -> None:
    """Raises StoreDown for a file that cannot be used, and tells the parent."""
    settings = StoreSettings(
        path=Path(order.path), timeout_s=order.timeout_s, replay_ttl_s=order.replay_ttl_s
    )
    parent = Frames(lambda _link, _frame: None)
    await parent.open(socket.socket(fileno=parent_link))
    try:
        async with open_shared(settings, SystemClock(), follows=order.follows) as store:
            owner = Owner(store)
            async with owner.listening(socket.socket(fileno=listener)):
                parent.send(LISTENING)
                await parent.lost.wait()
                await owner.unasked.wait()
    except StoreDown as problem:
        parent.send(str(problem).encode())
        parent.close()
        raise


def main(given: str, listener: int, parent: int) -> None:
    """`given`: an Order, as JSON."""
    # Whoever ends all processes of a gateway at once means its parent: workers still ask.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = msgspec.json.decode(given, type=Order)
    telemetry.configure(telemetry.LogSettings.model_validate_json(order.log))
    try:
        asyncio.run(own(order, listener, parent))
    except StoreDown:
        sys.exit(1)
