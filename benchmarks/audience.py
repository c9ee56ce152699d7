"""Thousands of watchers, and callers who call more than a gateway can answer.

They are made of plain frames, so that the gateway is what is measured.

Run in a process of its own: `python -m benchmarks.audience ADDRESS`. It obeys lines of its input
and answers each with one line of JSON.

    open COUNT AT_ONCE    opens streams, so many at a time: how many began, how many were refused,
                          and how long it took
    keep COUNT            closes all but so many
    measure SECONDS       events that arrived meanwhile, and how long after the gateway saw them
    flood RATE SECONDS    GetVault so often a second, answered or not, each with a deadline of a
                          second: what was answered, and how fast
"""

import asyncio
import contextlib
import json
import sys
import time
from statistics import quantiles
from typing import Final, TypeVar

from cbrgateway.v1 import task_pb2, vault_pb2
from google.protobuf.duration_pb2 import Duration

from benchmarks.frames import GRPC_HEAD, PER_CONNECTION, Frames
from benchmarks.payloads import VAULT_ID
from benchmarks.runtime import run

Kind = TypeVar("Kind", bound=Frames)
_WATCH: Final = task_pb2.WatchTasksRequest(
    heartbeat_interval=Duration(seconds=60)
).SerializeToString()
_GET: Final = vault_pb2.GetVaultRequest(vault_id=VAULT_ID).SerializeToString()
_OPEN_S: Final = 60.0
_TICK_S: Final = 0.005
_FLOOD_CONNECTIONS: Final = 50


class Watchers(Frames):
    """Up to 100 streams.

    `events`: the delay in seconds of every message after the first of a stream.
    """

    def __init__(self, address: str, changed: asyncio.Event) -> None:
        super().__init__(address, "TaskService/WatchTasks", _WATCH)
        self._changed = changed
        self._last = (0.0, 0.0)
        self.begun: set[int] = set()
        self.refused: set[int] = set()
        self.events: list[float] = []

    def answered(self, stream: int, payload: bytes, now: float) -> None:
        if stream in self.begun:
            if self._last[0] != now:
                # What arrives together is the same event: one message of it is read.
                moment = task_pb2.WatchTasksResponse.FromString(payload[GRPC_HEAD:]).observe_time
                self._last = (now, now - moment.seconds - moment.nanos / 1e9)
            self.events.append(self._last[1])
        else:
            self.begun.add(stream)
            self._changed.set()

    def ended(self, stream: int, now: float) -> None:
        del now
        self.refused.add(stream)
        self._changed.set()


class Callers(Frames):
    """Calls of GetVault. `took_s`: how long each answer took."""

    def __init__(self, address: str) -> None:
        super().__init__(address, "VaultService/GetVault", _GET, "1S")
        self._sent: dict[int, float] = {}
        self.took_s: list[float] = []
        self.refused = 0

    def send(self) -> None:
        self._sent[self.call()] = time.time()

    @property
    def in_flight(self) -> int:
        return len(self._sent)

    def answered(self, stream: int, payload: bytes, now: float) -> None:
        del payload
        if stream in self._sent:
            self.took_s.append(now - self._sent.pop(stream))

    def ended(self, stream: int, now: float) -> None:
        del now
        self.refused += self._sent.pop(stream, None) is not None


class Audience:
    """Everybody who calls one gateway."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._watchers: list[Watchers] = []
        self._changed = asyncio.Event()

    async def open(self, count: int, at_once: int) -> dict[str, float]:
        begun = time.monotonic()
        added: list[Watchers] = []
        for start in range(0, count, at_once):
            left = min(count - start, at_once)
            some = [
                await self._connected(Watchers(self._address, self._changed))
                for _ in range(0, left, PER_CONNECTION)
            ]
            for number in range(left):
                some[number // PER_CONNECTION].call()
            await self._settled(some, left)
            added += some
        self._watchers += added
        seconds = time.monotonic() - begun
        return {
            "began": sum(len(each.begun) for each in added),
            "refused": sum(len(each.refused) for each in added),
            "seconds": seconds,
        }

    async def _settled(self, some: list[Watchers], count: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OPEN_S):
                while sum(len(each.begun | each.refused) for each in some) < count:
                    self._changed.clear()
                    await self._changed.wait()

    async def keep(self, count: int) -> dict[str, float]:
        while sum(len(each.begun) for each in self._watchers) > count:
            self._watchers.pop().transport.abort()
        return {"left": sum(len(each.begun) for each in self._watchers)}

    async def measure(self, seconds: int) -> dict[str, float]:
        for each in self._watchers:
            each.events.clear()
        await asyncio.sleep(seconds)
        return _spread([delay_s for each in self._watchers for delay_s in each.events])

    async def flood(self, rate: int, seconds: int) -> dict[str, float]:
        callers = [await self._connected(Callers(self._address)) for _ in range(_FLOOD_CONNECTIONS)]
        begun, sent = time.monotonic(), 0
        while (passed_s := time.monotonic() - begun) < seconds:
            while sent < passed_s * rate:
                caller = callers[sent % len(callers)]
                if caller.in_flight < PER_CONNECTION:
                    caller.send()
                sent += 1
            await asyncio.sleep(_TICK_S)
        await asyncio.sleep(1)
        for caller in callers:
            caller.transport.abort()
        found = _spread([took_s for caller in callers for took_s in caller.took_s])
        return found | {
            "refused": sum(caller.refused for caller in callers),
            "per_s": found["count"] / seconds,
        }

    async def _connected(self, calls: Kind) -> Kind:
        host, _, port = self._address.rpartition(":")
        await asyncio.get_running_loop().create_connection(lambda: calls, host, int(port))
        return calls


def _spread(seconds: list[float]) -> dict[str, float]:
    points = quantiles(seconds, n=100) if len(seconds) > 1 else [0.0] * 99
    return {"count": len(seconds), "p50_ms": points[49] * 1000, "p99_ms": points[98] * 1000}


async def main() -> None:
    audience = Audience(sys.argv[1])
    print("ready", flush=True)
    while order := await asyncio.to_thread(sys.stdin.readline):
        name, *numbers = order.split()
        known = {
            "open": audience.open,
            "keep": audience.keep,
            "measure": audience.measure,
            "flood": audience.flood,
        }
        answer = await known[name](*map(int, numbers))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    run(main())
