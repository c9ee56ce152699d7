"""Callers who call so many times a second whether they are answered or not, and what each of their
calls came to.

Run in a process of its own: `python -m benchmarks.open_loop ADDRESS`. It obeys lines of its input,
each the JSON of an Order, and answers each with one line of JSON: an Ended for each of its crowds.
"""

import asyncio
import re
import sys
import time
from collections import Counter
from statistics import quantiles
from typing import Final

import msgspec
from cbrgateway.v1 import vault_pb2

from benchmarks.frames import RESET, Frames
from benchmarks.payloads import VAULT_ID
from benchmarks.runtime import run

_GET: Final = vault_pb2.GetVaultRequest(vault_id=VAULT_ID).SerializeToString()
_STATUS: Final = re.compile(rb"(?:grpc-status|\x9a\xca\xc8\xb2\x124\xda\x8f)[\x01\x02](\d+)")
"""Also as Envoy writes the name, by Huffman's code."""
_TICK_S: Final = 0.002
_DEADLINE_S: Final = 1
_OK: Final = "0"
_PROMPT_S: Final = 0.25


class Crowd(msgspec.Struct, frozen=True):
    """Callers of one tenant. `rate`: calls a second; 0: `in_flight` calls at all times on each of
    the connections. More than `in_flight` on one are not sent, as `held` tells.
    """

    key: str
    rate: float
    connections: int
    in_flight: int = 10_000


class Order(msgspec.Struct, frozen=True):
    """What to do for `seconds`; the first `settle_s` of them count for nothing."""

    crowds: list[Crowd]
    seconds: float
    settle_s: float = 1.0


class Ended(msgspec.Struct, frozen=True):
    """The calls of one crowd. `ends`: by gRPC code as a number, `reset N` by HTTP/2's, `lost` with
    their connection, or `none`. `held`: those that were not sent.

    `prompt`: the share of those not answered that were told so within a quarter of a second.
    """

    sent: int
    held: int
    answered: int
    per_s: float
    p50_ms: float
    p99_ms: float
    ends: dict[str, int]
    prompt: float


class Connection(Frames):
    """Calls of GetVault with a deadline. `again`: each end begins the next."""

    def __init__(self, address: str, key: str, done: "list[tuple[float, float, str]]") -> None:
        super().__init__(address, "VaultService/GetVault", _GET, f"{_DEADLINE_S}S", key)
        self.sent: dict[int, float] = {}
        self._done = done
        self._answered: set[int] = set()
        self.again = False

    def send(self) -> None:
        if self.transport.is_closing():
            self._done.append((time.time(), 0.0, "lost"))
        else:
            self.sent[self.call()] = time.time()

    def connection_lost(self, why: Exception | None) -> None:
        del why
        now = time.time()
        self._done += [(begun, now - begun, "lost") for begun in self.sent.values()]
        self.sent.clear()

    def answered(self, stream: int, payload: bytes, now: float) -> None:
        del payload, now
        self._answered.add(stream)

    def ended_with(self, stream: int, kind: int, payload: bytes, now: float) -> None:
        begun = self.sent.pop(stream, None)
        if begun is None:
            return
        if kind == RESET:
            end = f"reset {int.from_bytes(payload)}"
        else:
            found = _STATUS.search(payload)
            end = found[1].decode() if found else _OK if stream in self._answered else "?"
        self._answered.discard(stream)
        self._done.append((begun, now - begun, end))
        if self.again:
            asyncio.get_running_loop().call_later(0 if end == _OK else _PROMPT_S, self._more)

    def _more(self) -> None:
        if self.again:
            self.send()

    def ended(self, stream: int, now: float) -> None:
        """Nothing: `ended_with` tells more."""


class Callers:
    """Those of one crowd."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.done: list[tuple[float, float, str]] = []
        self._connections: list[Connection] = []
        self._sent = 0
        self._held: list[float] = []

    async def connect(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        for _ in range(self._crowd.connections):
            one = Connection(address, self._crowd.key, self.done)
            await asyncio.get_running_loop().create_connection(lambda one=one: one, host, int(port))
            self._connections.append(one)

    def begin(self) -> None:
        if not self._crowd.rate:
            for each in self._connections:
                each.again = True
                for _ in range(self._crowd.in_flight):
                    each.send()

    def send(self, passed_s: float) -> None:
        while self._sent < passed_s * self._crowd.rate:
            one = self._connections[self._sent % len(self._connections)]
            self._sent += 1
            if len(one.sent) < self._crowd.in_flight:
                one.send()
            else:
                self._held.append(time.time())

    def close(self) -> None:
        now = time.time()
        for each in self._connections:
            each.again = False
            self.done += [(begun, now - begun, "none") for begun in each.sent.values()]
            each.transport.abort()

    def ended(self, since: float, until: float) -> Ended:
        """Of the calls that were begun between the two."""
        calls = [each for each in self.done if since <= each[0] < until]
        took = sorted(took_s for _, took_s, end in calls if end == _OK and took_s <= _DEADLINE_S)
        other = [took_s for _, took_s, end in calls if end != _OK]
        cuts = quantiles(took, n=100) if len(took) > 1 else [0.0] * 99
        return Ended(
            sent=len(calls),
            held=sum(since <= each < until for each in self._held),
            answered=len(took),
            per_s=len(took) / (until - since),
            p50_ms=cuts[49] * 1000,
            p99_ms=cuts[98] * 1000,
            ends=dict(Counter(end for _, _, end in calls)),
            prompt=sum(took_s <= _PROMPT_S for took_s in other) / max(1, len(other)),
        )


async def carry_out(address: str, order: Order) -> list[Ended]:
    crowds = [Callers(each) for each in order.crowds]
    for each in crowds:
        await each.connect(address)
    begun, clock = time.time(), time.monotonic()
    for each in crowds:
        each.begin()
    while (passed_s := time.monotonic() - clock) < order.seconds:
        for each in crowds:
            each.send(passed_s)
        await asyncio.sleep(_TICK_S)
    until = time.time()
    await asyncio.sleep(_DEADLINE_S + 0.2)
    for each in crowds:
        each.close()
    return [each.ended(begun + order.settle_s, until) for each in crowds]


async def main() -> None:
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        found = await carry_out(sys.argv[1], msgspec.json.decode(line, type=Order))
        print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    run(main())
