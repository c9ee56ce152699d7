"""Gateways in processes of their own, so that they can be killed, or share a store."""

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

import grpc
import yaml

from emulator import settings as emulated
from tests.harness import tenant_entry

ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Process:
    """One `cbr-gateway serve`, its files in `folder`; `sections` of its configuration beside the usual ones."""

    def __init__(self, folder, endpoint, name="gateway", **sections):
        self.address, health = (f"127.0.0.1:{port}" for port in free_ports(2))
        config = {
            "server": {"listen": self.address, "health_listen": health, "drain_delay_s": 0, "drain_grace_s": 1},
            "upstream": {
                "regions": {"cn-north-4": {"endpoint": endpoint}},
                "credentials": {"main": {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}},
            },
            "tenants": [tenant_entry("payments")],
            **sections,
        }
        self.file = folder / f"{name}.yaml"
        self.file.write_text(yaml.safe_dump(config))

    @contextlib.asynccontextmanager
    async def running(self, **environ):
        """The process and a channel to it."""
        path = os.pathsep.join((str(ROOT / "generated" / "python"), str(ROOT)))
        given = os.environ | {"PYTHONPATH": path, "AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY} | environ
        command = (sys.executable, "-m", "gateway", "serve", "--config", str(self.file), "--log-level", "error")
        process = await asyncio.create_subprocess_exec(*command, env=given, cwd=ROOT)
        try:
            async with grpc.aio.insecure_channel(self.address) as channel:
                async with asyncio.timeout(15):
                    await channel.channel_ready()
                yield process, channel
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait_for(process.wait(), 10)
