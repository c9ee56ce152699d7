"""A gateway with two workers, as its processes and its ports show it."""

import asyncio
import contextlib
import re
import urllib.request
from pathlib import Path

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from testkit.ports import held_port
from tests.quota.processes import Process
from tests.quota.scenes import limit

CALLERS = 8
AUDIT_KEY = "an-audit-key-for-these-tests-0123456789"


class Gateway(Process):
    """With workers. Callers have a connection each, so that every worker has some."""

    def __init__(self, folder, cloud, **sections):
        super().__init__(folder, cloud, **sections)
        self.folder, self.cloud = folder, cloud
        self.admin = f"127.0.0.1:{held_port(self)}"
        self.http = f"127.0.0.1:{held_port(self)}"

    async def start(self, **environ):
        listen = {
            "CBR_GATEWAY_ADMIN__LISTEN": self.admin,
            "CBR_GATEWAY_HTTP__LISTEN": self.http,
        }
        await super().start(CBR_GATEWAY_SERVER__WORKERS="2", **listen, **environ)

    @property
    def pid(self):
        return self._process.pid

    def processes(self, name):
        """Those whose name begins so, by their ids."""
        found = descendants(self.pid)
        return [pid for pid in found if named(pid).startswith(f"cbr {name}")]

    async def page(self, path):
        def read():
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=30) as answer:
                return answer.read().decode()

        return await asyncio.to_thread(read)

    async def metric(self, name):
        """All series of that name, by what stands before the value."""
        page = await self.page("/metrics")
        rows = re.findall(rf"^({name}(?:{{.*}})?) (\S+)$", page, re.MULTILINE)
        return {series: float(value) for series, value in rows}

    async def both_serve(self):
        async with asyncio.timeout(120):
            while await self.serving_workers() != 2:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.1)

    async def replaced(self):
        """How many processes, by what they are."""
        found = await self.metric("cbr_processes_replaced_total")
        return {series.split('"')[1]: count for series, count in found.items()}

    async def serving_workers(self):
        with contextlib.suppress(OSError):
            return sum((await self.metric("cbr_workers_serving")).values())
        return 0

    @contextlib.asynccontextmanager
    async def callers(self, count=CALLERS):
        async with contextlib.AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.world()) for _ in range(count)]


def descendants(pid):
    found = [int(each) for each in read(f"/proc/{pid}/task/{pid}/children").split()]
    return [*found, *(deeper for each in found for deeper in descendants(each))]


def named(pid):
    return read(f"/proc/{pid}/comm").strip()


def read(path):
    """Empty where there is no such process any more."""
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""


@contextlib.asynccontextmanager
async def running(folder, **sections):
    async with running_emulator(pace=Pace(Mode.IMMEDIATE)) as cloud:
        gateway = Gateway(
            folder,
            cloud,
            limits=[limit("vaults", "tenant", 30)],
            state={"path": str(folder / "state.db")},
            quota={"sweep_s": 0.5, "settle_s": 1},
            audit={"directory": str(folder / "audit"), "key": {"env": "AUDIT_KEY"}},
            **sections,
        )
        await gateway.start(AUDIT_KEY=AUDIT_KEY, CBR_GATEWAY_SERVER__DRAIN_GRACE_S="30")
        try:
            await gateway.both_serve()
            yield gateway
        finally:
            await gateway.end()
