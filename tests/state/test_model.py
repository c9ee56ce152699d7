"""Random histories of operations, crashes and losses against a reference that is small enough to be
believed.
"""

import asyncio
import os
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import (
    Admitted,
    Charge,
    InProgress,
    Mismatch,
    Operation,
    Refused,
    Replay,
    State,
    StoreDown,
    StoreSettings,
    Usage,
    open_store,
)
from tests.state.valkey_server import ValkeyProcess

MEMORY_DISK = Path("/dev/shm")
"""Thousands of histories need not wait for a disk."""
OPEN = {State.RESERVED, State.SENT, State.UNKNOWN}
KEYS = ("vaults", "gib")
IDS = st.sampled_from([f"op{n}" for n in range(6)])
LIVES = [
    ("sent",),
    ("sent", "commit"),
    ("sent", "commit"),
    ("commit",),
    ("sent", "unknown"),
    ("sent", "unknown", "commit"),
    ("release",),
    ("unknown",),
]
"""Events of one operation, some of them out of order."""


def _operation(
    op_id, *, amounts=(), limit=None, tenant="a", request_id="", fingerprint=b"", ttl_s=3600
):
    charges = tuple(Charge(key, amount, limit) for key, amount in dict(amounts).items())
    return Operation(op_id, tenant, "rpc", request_id, fingerprint, charges, ttl_s)


OPERATIONS = st.builds(
    _operation,
    IDS,
    amounts=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 4)),
    limit=st.sampled_from([None, 3, 7]),
    tenant=st.sampled_from(["a", "a", "b"]),
    request_id=st.sampled_from(["", "r", "s"]),
    fingerprint=st.sampled_from([b"a", b"b"]),
    ttl_s=st.sampled_from([0, 3600, 3600]),
)


@dataclass
class Known:
    """What the reference remembers of an operation.

    `lapsed`: its ttl is over, so that the next begin or sweep ends it.
    """

    op: Operation
    lapsed: bool
    state: State = State.RESERVED
    response: bytes | None = None
    resource_id: str = ""
    order: int = 0


@dataclass
class Reference:
    """The promises of Store in the plainest words: sums over a list of operations, no counters."""

    ops: dict[str, Known] = field(default_factory=dict)
    base: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))
    counted: set[tuple[str, str]] = field(default_factory=set)
    adjusted: set[tuple[str, str]] = field(default_factory=set)
    counted_fence: int = 0
    order: int = 0

    def usage(self, key: str) -> tuple[int, int, int]:
        def total(states):
            return sum(
                c.amount
                for k in self.ops.values()
                if k.state in states
                for c in k.op.charges
                if c.key == key
            )

        done = sum(
            c.amount
            for k in self.ops.values()
            if k.state is State.COMMITTED and (k.op.id, key) not in self.counted
            for c in k.op.charges
            if c.key == key
        )
        return self.base[key] + done, total(OPEN), total({State.UNKNOWN})

    def sweep(self) -> int:
        due = [k for k in self.ops.values() if k.state is State.RESERVED and k.lapsed]
        for known in due:
            known.state = State.EXPIRED
        return len(due)

    def begin(self, op: Operation):
        if op.id in self.ops:
            return Admitted
        self.sweep()
        if known := self.holder(op):
            if known.op.fingerprint != op.fingerprint:
                return Mismatch()
            return (
                Replay(known.response)
                if known.state is State.COMMITTED
                else InProgress(known.op.id)
            )
        short = [
            c.key
            for c in op.charges
            if c.limit is not None and sum(self.usage(c.key)[:2]) + c.amount > c.limit
        ]
        if short:
            return short
        self.ops[op.id] = Known(op, lapsed=op.ttl_s == 0)
        return Admitted

    def holder(self, op: Operation) -> Known | None:
        """The operation that has the request_id."""
        for known in self.ops.values():
            same = (known.op.tenant, known.op.rpc, known.op.request_id) == (
                op.tenant,
                op.rpc,
                op.request_id,
            )
            if op.request_id and same and known.state not in {State.RELEASED, State.EXPIRED}:
                return known
        return None

    def settle(self, op_id: str, event: str, response: bytes | None, resource_id: str) -> State:
        """The state afterwards."""
        known = self.ops.get(op_id)
        if known is None:
            return State.ABSENT
        before, after = known.state, known.state
        match event:
            case "sent" if before is State.RESERVED:
                after = State.SENT
            case "commit":
                after = State.COMMITTED
            case "release" if before in OPEN:
                after = State.RELEASED
            case "unknown" if before in {State.RESERVED, State.SENT, State.EXPIRED}:
                after = State.UNKNOWN
        if after is not before:
            if before in {State.RELEASED, State.EXPIRED} and self.holder(known.op):
                known.op = replace(known.op, request_id="")
            known.state = after
            if after is State.COMMITTED:
                self.order += 1
                known.response, known.resource_id, known.order = response, resource_id, self.order
        return after

    def adjust(self, key: str, delta: int, name: str, since: int | None) -> bool:
        missed = delta < 0 and since is not None and self.counted_fence > since
        fresh = (name, key) not in self.adjusted
        if fresh and not missed:
            before = self.usage(key)[0]
            self.base[key] += max(0, before + delta) - before
        self.adjusted.add((name, key))
        return not (fresh and missed)

    def recount(self, counts: dict[str, int], fence: int, seen: set[str], settle_s: float) -> None:
        def listed(known, key):
            shown = (
                seen & {known.resource_id, known.op.id} or (known.resource_id, key) in self.adjusted
            )
            return shown or (known.order <= fence and not settle_s)

        self.base = dict(counts)
        done = [known for known in self.ops.values() if known.state is State.COMMITTED]
        self.counted = {(known.op.id, key) for known in done for key in KEYS if listed(known, key)}


class Histories(RuleBasedStateMachine):
    """One store and one reference; `kind` says which store, `valkey` is the server of the shared
    one.
    """

    kind: ClassVar[str]
    valkey: ClassVar[ValkeyProcess]

    @initialize()
    def begin_history(self):
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        more = (
            {"prefix": f"m{uuid.uuid4().hex}", "url": Secret(self.valkey.url)}
            if self.kind == "valkey"
            else {"path": self.path}
        )
        self.place = StoreSettings(kind=self.kind, timeout_s=5, **more)
        self.forget()
        self.open()

    @property
    def path(self):
        return Path(self.folder.name) / "state.db"

    def open(self):
        self.stack = open_store(self.place, SystemClock())
        self.store = self.run(self.stack.__aenter__())
        self.epoch = self.run(self.store.life.epoch())

    def close(self):
        self.run(self.stack.__aexit__(None, None, None))

    def forget(self):
        self.reference = Reference()
        self.listing = SimpleNamespace(fence=0, order=0)
        self.fences = [None]

    def run(self, coroutine):
        return self.runner.run(coroutine)

    # What ends a history's past is rare, so that there is a past.
    @precondition(lambda self: len(self.reference.ops) >= 3)
    @rule()
    def crash(self):
        """The process ends, and the next one finds everything; the data are the same ones."""
        before = self.epoch
        self.close()
        self.open()
        assert self.epoch == before

    @precondition(lambda self: len(self.reference.ops) >= 5)
    @rule()
    def lose(self):
        """A shared store is emptied under its users; a file can only be lost between two
        processes.
        """
        self.forget()
        if self.kind == "valkey":
            assert self.valkey.command("FLUSHALL").startswith(b"+OK")
            with pytest.raises(StoreDown):
                self.run(self.store.operations.begin(_operation("unawares")))
            before, self.epoch = self.epoch, self.run(self.store.life.epoch())
            assert self.epoch != before
        else:
            before = self.epoch
            self.close()
            for file in self.path.parent.iterdir():
                file.unlink()
            self.open()
            assert self.epoch != before

    # Several in one step: most of what can go wrong takes two operations.
    @rule(ops=st.lists(OPERATIONS, min_size=1, max_size=4))
    def begin(self, ops):
        for op in ops:
            self.begin_one(op)

    def begin_one(self, op):
        expected, answer = self.reference.begin(op), self.run(self.store.operations.begin(op))
        match expected:
            case list():
                assert isinstance(answer, Refused)
                assert [shortage.key for shortage in answer.shortages] == expected
            case type():
                assert answer == Admitted()
            case _:
                assert answer == expected

    @rule(op_id=IDS, events=st.sampled_from(LIVES), resource=st.sampled_from(["", "v1", "v2"]))
    def settle(self, op_id, events, resource):
        for event in events:
            self.settle_one(op_id, event, resource)

    def settle_one(self, op_id, event, resource):
        expected = self.reference.settle(op_id, event, b"x" + op_id.encode(), resource)
        call = (
            self.store.operations.commit(op_id, b"x" + op_id.encode(), resource)
            if event == "commit"
            else getattr(self.store.operations, event)(op_id)
        )
        assert self.run(call) is ((expected is State.SENT) if event == "sent" else expected)

    @rule()
    def sweep(self):
        assert self.run(self.store.operations.sweep([])) == self.reference.sweep()

    @rule()
    def begin_listing(self):
        self.listing = SimpleNamespace(
            fence=self.run(self.store.counters.fence()), order=self.reference.order
        )
        self.fences.append(self.listing.fence)

    @rule(
        key=st.sampled_from(KEYS),
        delta=st.integers(-3, 3),
        name=st.sampled_from(["x", "v1", "v2"]),
        data=st.data(),
    )
    def adjust(self, key, delta, name, data):
        since = data.draw(st.sampled_from(self.fences))
        taken = self.run(self.store.counters.adjust(key, delta, name, since))
        assert taken == self.reference.adjust(key, delta, name, since)

    @precondition(lambda self: self.listing.fence)
    @rule(
        counts=st.fixed_dictionaries({key: st.integers(0, 5) for key in KEYS}),
        seen=st.sets(st.one_of(st.sampled_from(["v1", "v2"]), IDS)),
        settle_s=st.sampled_from([0, 3600]),
    )
    def recount(self, counts, seen, settle_s):
        self.run(self.store.counters.recount(counts, self.listing.fence, seen, settle_s))
        self.reference.recount(counts, self.listing.order, seen, settle_s)
        self.reference.counted_fence = self.listing.fence
        self.listing = SimpleNamespace(fence=0, order=0)

    @invariant()
    def counters_agree(self):
        usage = self.run(self.store.counters.usage(KEYS))
        assert {k: (u.committed, u.reserved, u.uncertain) for k, u in usage.items()} == {
            k: self.reference.usage(k) for k in KEYS
        }
        assert all(isinstance(u, Usage) for u in usage.values())

    def teardown(self):
        self.close()
        self.runner.close()
        self.folder.cleanup()


SOAK = bool(os.environ.get("QUOTA_SOAK"))


@pytest.mark.timeout(1800 if SOAK else 300)
@pytest.mark.parametrize(
    ("kind_", "examples"), [("sqlite", 3000 if SOAK else 100), ("valkey", 3000 if SOAK else 50)]
)
def test_random_histories(kind_, examples, valkey):
    class Here(Histories):
        kind = kind_

    Here.valkey = valkey
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            database=None,
            suppress_health_check=checks,
        ),
    )
