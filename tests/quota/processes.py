"""Gateways in processes of their own, so that they can be killed, or share a store."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import yaml

from emulator import settings as emulated
from emulator.server import RunningEmulator
from testkit.ports import held_port
from tests.forked import Gateway
from tests.harness import REGION, STANDBY_REGION, TENANTS, World, tenant_entry

ROOT = Path(__file__).parents[2]
START_S = 60
"""How long a start may take on a busy machine."""
SECRETS = {
    "AK": emulated.ACCESS_KEY,
    "SK": emulated.SECRET_KEY,
    "AK2": emulated.SECOND_ACCESS_KEY,
    "SK2": emulated.SECOND_SECRET_KEY,
}


class Process:
    """One `cbr-gateway serve`, its files in `folder`; `sections` of its configuration beside the
    usual ones. It can be started again and again.
    """

    def __init__(
        self, folder: Path, cloud: RunningEmulator, name: str = "gateway", **sections
    ) -> None:
        self._port = held_port(self)
        self.address = f"127.0.0.1:{self._port}"
        config = {
            # As many calls at once as a test likes.
            "server": {
                "listen": self.address,
                "health_listen": f"127.0.0.1:{held_port(self)}",
                "drain_delay_s": 0,
                "drain_grace_s": 1,
                "limits": {"max_pending_requests": 1000, "max_concurrent_streams": 1000},
            },
            "admin": {"listen": None},
            "upstream": {
                "regions": {
                    region: {"endpoint": cloud.base_url} for region in (REGION, STANDBY_REGION)
                },
                "credentials": {
                    "main": {
                        "kind": "access_key",
                        "access_key": {"env": "AK"},
                        "secret_key": {"env": "SK"},
                    },
                    "second": {
                        "kind": "access_key",
                        "access_key": {"env": "AK2"},
                        "secret_key": {"env": "SK2"},
                    },
                },
            },
            "tenants": [tenant_entry(tenant) for tenant in TENANTS],
            "watch": {"follow": "watched"},
            **sections,
        }
        self._cloud = cloud
        self._file = folder / f"{name}.yaml"
        self._file.write_text(yaml.safe_dump(config))

    async def start(self, **environ: str) -> None:
        """Does not wait until it serves."""
        self._process = Gateway(self._file, os.environ | SECRETS | environ)

    async def serving(self) -> None:
        """Waits until it can be called."""
        async with self.world():
            return

    @contextlib.asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        """A channel to it, once it serves."""
        await self._listening()
        # A pool of its own: the common one remembers how often an earlier process at this address
        # did not answer.
        async with grpc.aio.insecure_channel(
            self.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield World(None, self._cloud, channel)

    async def _listening(self) -> None:
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def ended(self, within_s: float = START_S) -> int:
        """Waits for its end; its exit code, negative for a signal."""
        async with asyncio.timeout(within_s):
            return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Sends a signal, unless it has ended, and waits for the end."""
        self._process.send_signal(number)
        await self.ended()

    @contextlib.asynccontextmanager
    async def running(self, **environ: str) -> AsyncIterator[World]:
        await self.start(**environ)
        try:
            async with self.world() as world:
                yield world
        finally:
            await self.end()
