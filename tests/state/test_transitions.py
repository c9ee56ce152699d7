"""Every event in every state has an answer, the same in every implementation, and none is an
error.
"""

import itertools

import pytest

from gateway.state import Admitted, Charge, InProgress, Replay, State, Store, Usage
from tests.state.benches import operation, running_bench, settings_for

EVENTS = ("begin", "sent", "commit", "release", "unknown", "sweep")
# Of each state, in the order of EVENTS: where it leads.
MATRIX = {
    "ABSENT": ("RESERVED", "ABSENT", "ABSENT", "ABSENT", "ABSENT", "ABSENT"),
    "RESERVED": ("RESERVED", "SENT", "COMMITTED", "RELEASED", "UNKNOWN", "RESERVED"),
    "SENT": ("SENT", "SENT", "COMMITTED", "RELEASED", "UNKNOWN", "SENT"),
    "UNKNOWN": ("UNKNOWN", "UNKNOWN", "COMMITTED", "RELEASED", "UNKNOWN", "UNKNOWN"),
    "COMMITTED": ("COMMITTED", "COMMITTED", "COMMITTED", "COMMITTED", "COMMITTED", "COMMITTED"),
    "RELEASED": ("RELEASED", "RELEASED", "COMMITTED", "RELEASED", "RELEASED", "RELEASED"),
    "EXPIRED": ("EXPIRED", "EXPIRED", "COMMITTED", "EXPIRED", "UNKNOWN", "EXPIRED"),
}
CELLS = [
    (state, event, after)
    for state, row in MATRIX.items()
    for event, after in zip(EVENTS, row, strict=True)
]
LIVES = {
    "ABSENT": (),
    "RESERVED": ("begin",),
    "SENT": ("begin", "sent"),
    "UNKNOWN": ("begin", "sent", "unknown"),
    "COMMITTED": ("begin", "sent", "commit"),
    "RELEASED": ("begin", "release"),
    "EXPIRED": ("begin", "sweep"),
}
HELD = {
    "RESERVED": Usage(0, 4),
    "SENT": Usage(0, 4),
    "UNKNOWN": Usage(0, 4, 4),
    "COMMITTED": Usage(4),
}


def one(ttl_s=3600):
    return operation("one", Charge("gib", 4, 7), request_id="r", ttl_s=ttl_s)


def happens(store: Store, event: str, ttl_s=3600):
    match event:
        case "begin":
            return store.operations.begin(one(ttl_s))
        case "commit":
            return store.operations.commit("one", b"answer", "made")
        case "sweep":
            return store.operations.sweep([])
    return getattr(store.operations, event)("one")


async def brought_to(store: Store, state: str) -> None:
    for event in LIVES[state]:
        await happens(store, event, ttl_s=0 if state == "EXPIRED" else 3600)


async def stands(store: Store, after: str) -> None:
    """The operation, its counters and its request_id all say the same."""
    view = await store.operations.get("one")
    assert (view.state if view else State.ABSENT) == after
    assert (await store.counters.usage(["gib"]))["gib"] == HELD.get(after, Usage())
    open_ids = [
        op.id
        for op in await store.operations.in_states(
            None, {State.RESERVED, State.SENT, State.UNKNOWN}
        )
    ]
    assert ("one" in open_ids) is (after in {"RESERVED", "SENT", "UNKNOWN"})


@pytest.mark.parametrize(("state", "event", "after"), CELLS)
async def test_every_event_in_every_state(store: Store, state: str, event: str, after: str):
    await brought_to(store, state)
    for _ in range(2):
        answer = await happens(store, event)
        match event:
            case "begin":
                assert answer == Admitted()
            case "sent":
                assert answer is (after == "SENT")
            case "sweep":
                assert answer == 0
            case _:
                assert answer == after
        await stands(store, after)
    repeated = await store.operations.begin(operation("two", request_id="r"))
    match after:
        case "COMMITTED":
            assert repeated == Replay(b"answer")
        case "RESERVED" | "SENT" | "UNKNOWN":
            assert repeated == InProgress("one")
        case _:
            assert repeated == Admitted()


@pytest.mark.parametrize("state", ["RELEASED", "EXPIRED"])
@pytest.mark.parametrize(("event", "after"), [("commit", "COMMITTED"), ("unknown", None)])
async def test_a_late_end_does_not_take_the_request_id_from_a_repeat(
    store: Store, state: str, event: str, after: str | None
):
    await brought_to(store, state)
    assert (
        await store.operations.begin(operation("two", Charge("gib", 1, 7), request_id="r"))
        == Admitted()
    )
    after = after or MATRIX[state][EVENTS.index("unknown")]
    assert await happens(store, event) == after
    held = HELD.get(after, Usage())
    assert (await store.counters.usage(["gib"]))["gib"] == Usage(
        held.committed, held.reserved + 1, held.uncertain
    )
    assert await store.operations.begin(operation("three", request_id="r")) == InProgress("two")
    await store.operations.release("one")
    await store.operations.sent("two")
    await store.operations.commit("two", b"of two")
    assert await store.operations.begin(operation("three", request_id="r")) == Replay(b"of two")


@pytest.mark.parametrize("events", list(itertools.permutations(["commit", "release", "unknown"])))
async def test_whatever_came_before_a_fact_outlasts_a_guess(store: Store, events: tuple[str, ...]):
    await brought_to(store, "SENT")
    for event in events:
        await happens(store, event)
    await stands(store, "COMMITTED")


async def test_what_is_open_again_is_kept_as_long_as_it_is_open(kind, tmp_path, valkey):
    async with running_bench(settings_for(kind, tmp_path, valkey, replay_ttl_s=0.2)) as bench:
        await brought_to(bench.store, "EXPIRED")
        assert await bench.store.operations.unknown("one") == "UNKNOWN"
        await bench.wait(0.3)
        await bench.store.operations.sweep([])
        await stands(bench.store, "UNKNOWN")
        assert await bench.store.operations.begin(operation("two", request_id="r")) == InProgress(
            "one"
        )
        assert await bench.store.operations.commit("one", b"answer") == "COMMITTED"
        await bench.wait(0.3)
        await bench.store.operations.sweep([])
        assert await bench.store.operations.get("one") is None
