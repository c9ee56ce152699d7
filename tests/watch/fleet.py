"""Several gateways before one emulator, killed and started anew, and a relay before them whose
connections can be cut.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from pathlib import Path

import yaml

from emulator import settings as emulated
from emulator.tasks import Outcome, Owner
from testkit.ports import free_port
from tests.forked import Gateway
from tests.harness import TENANTS, tenant_entry

PROJECT = TENANTS["payments"][0]


class Member:
    """One gateway of a fleet. It comes back on another port, behind the same relay."""

    def __init__(self, folder, name, sections, environ):
        self._folder, self._name, self._sections, self._environ = folder, name, sections, environ
        self._process = None
        self.address = ""

    async def start(self):
        self.address, health = (f"127.0.0.1:{free_port()}" for _ in range(2))
        file = self._folder / f"{self._name}.yaml"
        server = {
            "listen": self.address,
            "health_listen": health,
            "drain_delay_s": 0,
            "drain_grace_s": 3,
            **self._sections.get("server", {}),
        }
        file.write_text(
            yaml.safe_dump({"admin": {"listen": None}, **self._sections, "server": server})
        )
        secrets = {
            "AK": emulated.ACCESS_KEY,
            "SK": emulated.SECRET_KEY,
            "TOKEN_KEY": "one for all of the fleet",
        }
        self._process = Gateway(file, os.environ | secrets | self._environ)
        async with asyncio.timeout(30):
            while not await self._answers():
                assert self._process.returncode is None, "the gateway ended before it served"
                await asyncio.sleep(0.05)

    async def _answers(self):
        host, _, port = self.address.rpartition(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def end(self, by=signal.SIGKILL):
        """Signals it and waits until it is gone."""
        process, self._process = self._process, None
        self.address = ""
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(by)
            await asyncio.wait_for(process.wait(), 30)

    @property
    def resident_kib(self):
        lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Relay:
    """Passes connections on to the members that live, one after the other; each new one goes to
    another member.
    """

    def __init__(self, members):
        self._members = members
        self._turn = 0
        self._open = set()
        self._server = None
        self.address = ""

    @contextlib.asynccontextmanager
    async def running(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self._server.close()
            self.reset()
            await self._server.wait_closed()

    def reset(self):
        """Ends every connection as a broken network does: without a word."""
        for writer in list(self._open):
            connection = writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader, writer):
        addresses = [member.address for member in self._members if member.address]
        self._turn += 1
        try:
            host, _, port = addresses[self._turn % len(addresses)].rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
        except (OSError, ZeroDivisionError):
            writer.transport.abort()
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        finally:
            self._open -= {writer, back}
            writer.transport.abort()
            back.transport.abort()


async def _pass_on(source, target):
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.transport.abort()


def configuration(endpoint, watch, **sections):
    """What all members have in common."""
    return {
        "upstream": {
            "regions": {"cn-north-4": {"endpoint": endpoint}},
            "credentials": {
                "main": {
                    "kind": "access_key",
                    "access_key": {"env": "AK"},
                    "secret_key": {"env": "SK"},
                }
            },
        },
        "tenants": [tenant_entry("payments")],
        "page_token_key": {"env": "TOKEN_KEY"},
        "watch": watch,
        **sections,
    }


@contextlib.asynccontextmanager
async def fleet(folder, count, sections, **environ):
    """The members, all running.

    Each has what `sections` says, with the secrets that it names in `environ`.
    """
    members = [Member(folder, f"gateway-{number}", sections, environ) for number in range(count)]
    try:
        await asyncio.gather(*(member.start() for member in members))
        yield members
    finally:
        await asyncio.gather(*(member.end() for member in members))


def start_task(cloud, number, outcome="success"):
    """A new task in the emulated cloud, without the call that would make one."""
    name = f"resource-{number}"
    return cloud.state.world.tasks.start(
        "backup",
        Owner(
            PROJECT,
            "0daac4c5-6707-4851-97ba-169e36266b66",
            "0",
            "69d2ba2c-6a2c-4d8e-b1bb-f9ad3b7c1f1a",
            "vault",
        ),
        resource={"id": name, "type": "OS::Nova::Server", "name": name, "extra_info": {}},
        part="backup",
        details={"backup_id": "", "backup_name": name, "incremental": "false"},
        enter=lambda _status: None,
        outcome=Outcome(
            outcome, *(() if outcome == "success" else ("BackupService.7102", "as planned"))
        ),
    )
