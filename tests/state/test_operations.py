"""Operations, counters and idempotency records: the promises of `Store`, held by every
implementation.
"""

import asyncio
import time
import uuid

import pytest

from gateway.clock import SystemClock
from gateway.state import (
    OPEN,
    Admitted,
    Charge,
    InProgress,
    Mismatch,
    Refused,
    Replay,
    Shortage,
    State,
    Store,
    Total,
    Usage,
)
from tests.state.benches import Bench, operation, running_bench, settings_for


async def committed(store: Store, *charges: Charge, resource_id: str = "") -> str:
    op = operation("", *charges)
    assert await store.operations.begin(op) == Admitted()
    assert await store.operations.sent(op.id)
    await store.operations.commit(op.id, None, resource_id)
    return op.id


async def test_a_commit_turns_reserved_into_committed(store: Store):
    op = operation("one", Charge("vaults", 1, 5), Charge("gib", 2**40, None))
    assert await store.operations.begin(op) == Admitted()
    assert await store.counters.usage(["vaults", "gib"]) == {
        "vaults": Usage(reserved=1),
        "gib": Usage(reserved=2**40),
    }
    assert await store.operations.sent("one")
    await store.operations.commit("one", b"answer", "vault-1")
    assert await store.counters.usage(["vaults", "gib", "other"]) == {
        "vaults": Usage(committed=1),
        "gib": Usage(committed=2**40),
        "other": Usage(),
    }


@pytest.mark.parametrize("amount", [0, 1, 2**53 - 1])
@pytest.mark.parametrize("last", ["commit", "release"])
async def test_the_least_and_greatest_amounts_move_exactly(store: Store, amount: int, last: str):
    await store.operations.begin(operation("one", Charge("gib", amount, None)))
    await store.operations.sent("one")
    await store.operations.unknown("one")
    assert (await store.counters.usage(["gib"]))["gib"] == Usage(0, amount, amount)
    await (
        store.operations.commit("one", None)
        if last == "commit"
        else store.operations.release("one")
    )
    assert (await store.counters.usage(["gib"]))["gib"] == Usage(amount if last == "commit" else 0)
    await store.counters.adjust("gib", -amount, "delete")
    assert (await store.counters.usage(["gib"]))["gib"] == Usage()


async def test_a_release_gives_back_and_frees_the_request(store: Store):
    assert (
        await store.operations.begin(operation("one", Charge("vaults", 1, 1), request_id="r"))
        == Admitted()
    )
    assert await store.operations.sent("one")
    await store.operations.release("one")
    assert (await store.counters.usage(["vaults"]))["vaults"] == Usage()
    assert (
        await store.operations.begin(operation("two", Charge("vaults", 1, 1), request_id="r"))
        == Admitted()
    )


async def test_what_was_sent_never_ends_by_itself(bench: Bench):
    store = bench.store
    await store.operations.begin(operation("one", Charge("vaults", 3, None), ttl_s=0.05))
    await store.operations.sent("one")
    await bench.wait(0.1)
    assert await store.operations.sweep([]) == 0
    assert await store.operations.begin(operation("two")) == Admitted()
    assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(reserved=3)


async def test_an_unknown_outcome_stays_reserved_until_it_is_settled(bench: Bench):
    store = bench.store
    await store.operations.begin(
        operation("one", Charge("vaults", 3, None), request_id="r", ttl_s=0.05)
    )
    await store.operations.sent("one")
    await store.operations.unknown("one")
    await bench.wait(0.1)
    assert await store.operations.sweep([]) == 0
    assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(reserved=3, uncertain=3)
    assert await store.operations.begin(operation("two", request_id="r")) == InProgress("one")
    await store.operations.commit("one", b"late")
    assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(committed=3)
    assert await store.operations.begin(operation("three", request_id="r")) == Replay(b"late")


async def test_a_refusal_lists_every_limit_and_keeps_nothing(store: Store):
    await committed(store, Charge("vaults", 2, None))
    await store.operations.begin(operation("open", Charge("gib", 30, None)))
    asked = (Charge("vaults", 1, 2), Charge("free", 1, 9), Charge("gib", 10, 35))
    shortages = (Shortage("vaults", 2, 2, 0, 1), Shortage("gib", 35, 0, 30, 10))
    assert await store.operations.begin(operation("more", *asked, request_id="r")) == Refused(
        shortages
    )
    assert (await store.counters.usage(["free"]))["free"] == Usage()
    assert await store.operations.begin(operation("more", request_id="r")) == Admitted()


async def test_a_shadow_limit_only_reports(store: Store):
    first = await store.operations.begin(operation("one", Charge("vaults", 3, 2, shadow=True)))
    assert first == Admitted((Shortage("vaults", 2, 0, 0, 3),))
    assert (await store.counters.usage(["vaults"]))["vaults"].reserved == 3


async def test_a_limit_may_be_used_up_exactly(store: Store):
    assert await store.operations.begin(operation("one", Charge("gib", 10, 10))) == Admitted()
    assert isinstance(await store.operations.begin(operation("two", Charge("gib", 1, 10))), Refused)
    assert isinstance(
        await store.operations.begin(operation("none", Charge("other", 1, 0))), Refused
    )


@pytest.mark.parametrize("step", ["begin", "sent", "commit", "release", "unknown", "sweep"])
async def test_every_step_may_be_repeated(store: Store, step: str):
    """What a client does that got no answer: it cannot know whether the first call arrived."""
    steps = {
        "begin": [],
        "sent": ["sent"],
        "unknown": ["sent", "unknown"],
        "release": ["release"],
        "commit": ["sent", "commit"],
        "sweep": [],
    }
    op = operation("one", Charge("gib", 4, 7), request_id="r", ttl_s=0 if step == "sweep" else 60)
    before = None
    for _ in range(2):
        if step in {"begin", "sweep"} or before is None:
            assert await store.operations.begin(op) == Admitted()
        for name in steps[step]:
            if name == step or before is None:
                await (
                    store.operations.commit("one", b"x", "v")
                    if name == "commit"
                    else getattr(store.operations, name)("one")
                )
        if step == "sweep":
            await store.operations.sweep([])
        after = await store.counters.usage(["gib"])
        assert before in {None, after["gib"]}
        before = after["gib"]
    expected = {
        "commit": Usage(4),
        "release": Usage(),
        "sweep": Usage(),
        "unknown": Usage(0, 4, 4),
    }.get(step, Usage(0, 4))
    assert before == expected


async def test_the_same_request_again(store: Store):
    await store.operations.begin(operation("one", request_id="r", fingerprint=b"a"))
    assert await store.operations.begin(
        operation("two", request_id="r", fingerprint=b"a")
    ) == InProgress("one")
    assert (
        await store.operations.begin(operation("two", request_id="r", fingerprint=b"b"))
        == Mismatch()
    )
    await store.operations.sent("one")
    assert await store.operations.begin(
        operation("two", request_id="r", fingerprint=b"a")
    ) == InProgress("one")
    await store.operations.commit("one", b"\x00answer\xff")
    assert await store.operations.begin(
        operation("two", request_id="r", fingerprint=b"a")
    ) == Replay(b"\x00answer\xff")
    assert (
        await store.operations.begin(operation("two", request_id="r", fingerprint=b"b"))
        == Mismatch()
    )


async def test_a_request_id_belongs_to_a_tenant_and_an_rpc(store: Store):
    await store.operations.begin(operation("one", request_id="r", tenant="a", rpc="b"))
    assert (
        await store.operations.begin(operation("two", request_id="r", tenant="b", rpc="b"))
        == Admitted()
    )
    assert (
        await store.operations.begin(operation("three", request_id="r", tenant="a", rpc="c"))
        == Admitted()
    )
    # Neighbours that would be one word if the parts were only strung together.
    assert (
        await store.operations.begin(operation("four", request_id="b:r", tenant="a", rpc=""))
        == Admitted()
    )


@pytest.mark.parametrize(("size", "kept"), [(0, True), (16 * 1024, True), (16 * 1024 + 1, False)])
async def test_answers_up_to_16_kib_are_kept(store: Store, size: int, *, kept: bool):
    await store.operations.begin(operation("one", request_id="r"))
    await store.operations.sent("one")
    await store.operations.commit("one", b"x" * size)
    assert await store.operations.begin(operation("two", request_id="r")) == Replay(
        b"x" * size if kept else None
    )


async def test_a_reservation_ends_and_must_not_be_sent(bench: Bench):
    store = bench.store
    await store.operations.begin(
        operation("one", Charge("vaults", 1, 1), request_id="r", ttl_s=0.05)
    )
    await bench.wait(0.1)
    assert await store.operations.sweep([]) == 1
    assert await store.operations.sent("one") is False
    await store.operations.release("one")
    assert (await store.counters.usage(["vaults"]))["vaults"] == Usage()
    assert await store.operations.begin(operation("two", request_id="r")) == Admitted()


async def test_an_ended_reservation_does_not_stand_in_the_way_before_the_sweep(bench: Bench):
    await bench.store.operations.begin(operation("one", Charge("vaults", 1, 1), ttl_s=0.05))
    await bench.wait(0.1)
    assert (
        await bench.store.operations.begin(operation("two", Charge("vaults", 1, 1))) == Admitted()
    )


async def test_a_volume_counter_is_forgotten_at_its_time(bench: Bench):
    store = bench.store
    now = (bench.clock or SystemClock()).time()
    today = Charge("day", 4, 5, expires_at=now + 1)
    await store.operations.begin(operation("one", today))
    await store.operations.sent("one")
    await store.operations.commit("one", None)
    await store.operations.begin(
        operation("open", Charge("day", 1, 5, expires_at=now + 1), Charge("gib", 1, None))
    )
    assert isinstance(await store.operations.begin(operation("two", today)), Refused)
    await bench.wait(1.1)
    assert (await store.counters.usage(["day"]))["day"] == Usage()
    later = Charge("day", 5, 5, expires_at=now + 3600)
    assert await store.operations.begin(operation("three", later)) == Admitted()
    await store.operations.release("open")
    assert (await store.counters.usage(["day"]))["day"] == Usage(reserved=5)


async def test_adjusting_counts_once(store: Store):
    await committed(store, Charge("vaults", 3, None))
    for _ in range(2):
        await store.counters.adjust("vaults", -1, "delete-1")
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 2
    await store.counters.adjust("vaults", -9, "delete-2")
    await store.counters.adjust("gib", 7, "delete-2")
    assert await store.counters.usage(["vaults", "gib"]) == {
        "vaults": Usage(),
        "gib": Usage(committed=7),
    }


async def test_a_recount_sets_the_truth_and_keeps_what_the_listing_may_have_missed(store: Store):
    await committed(store, Charge("vaults", 1, None), resource_id="old")
    await committed(store, Charge("vaults", 1, None), resource_id="deleted elsewhere")
    fence = await store.counters.fence()
    await committed(store, Charge("vaults", 1, None), resource_id="seen")
    await committed(store, Charge("vaults", 1, None), resource_id="missed")
    await committed(store, Charge("vaults", 1, None))
    await store.operations.begin(operation("open", Charge("vaults", 1, None)))
    for _ in range(2):
        await store.counters.recount({"vaults": 10, "empty": 0}, fence, {"old", "seen"})
    usage = await store.counters.usage(["vaults", "empty"])
    assert (usage["vaults"].committed, usage["vaults"].reserved) == (12, 1)
    assert usage["empty"].counted_at is not None


async def test_a_recount_keeps_what_lists_may_be_too_late_to_show(store: Store):
    for resource in ("shown", "late", "gone"):
        await committed(store, Charge("vaults", 1, None), resource_id=resource)
    resized = await committed(store, Charge("vaults", 10, None))
    assert [op.resource_id for op in await store.operations.committed_within(60)] == [
        "shown",
        "late",
        "gone",
        "",
    ]
    await store.counters.adjust("vaults", -1, "gone", await store.counters.fence())
    fence = await store.counters.fence()
    await store.counters.recount({"vaults": 1}, fence, {"shown"}, 60)
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 1 + 1 + 10
    await store.counters.recount(
        {"vaults": 1}, await store.counters.fence(), {"shown", resized}, 60
    )
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 2
    await store.counters.recount({"vaults": 1}, await store.counters.fence(), {"shown"})
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 1


async def test_a_total_adds_up_what_was_counted_and_what_is_assumed_for_the_rest(store: Store):
    await store.operations.begin(operation("open", Charge("a", 1, None)))
    await committed(store, Charge("b", 1, None))
    await store.counters.recount(
        {"a": 5}, await store.counters.fence(), (), sums={"both": Total(("a", "b", "c"), 20)}
    )
    usage = await store.counters.usage(["both", "a"])
    # What `b` is known to hold, and for it and `c` what is assumed.
    assert (usage["both"].committed, usage["both"].reserved, usage["both"].counted_at) == (
        5 + 1 + 40,
        1,
        usage["a"].counted_at,
    )
    await store.counters.recount(
        {}, 0, (), sums={"both": Total(("a",), 20), "neither": Total(("d",), 2)}
    )
    usage = await store.counters.usage(["both", "neither"])
    assert (usage["both"].committed, usage["neither"].committed, usage["neither"].counted_at) == (
        5,
        2,
        None,
    )


async def test_an_earlier_listing_does_not_undo_a_later_one(store: Store):
    early, late = await store.counters.fence(), await store.counters.fence()
    assert early < late
    await store.counters.recount({"vaults": 4}, late, ())
    await store.counters.recount({"vaults": 9}, early, ())
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 4


async def test_a_delete_that_a_listing_may_have_seen_is_not_taken_off_twice(store: Store):
    await store.counters.recount({"vaults": 4}, await store.counters.fence(), ())
    since = await store.counters.fence()
    await store.counters.adjust("vaults", -1, "seen-by-nobody", since)
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 3
    await store.counters.recount({"vaults": 2}, await store.counters.fence(), ())
    await store.counters.adjust("vaults", -1, "ended-before-the-listing", since)
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 2


async def test_operations_can_be_listed_for_recovery(store: Store):
    await store.operations.begin(
        operation(
            "one", Charge("gib", 4, None), tenant="a", request_id="r", detail=b"\x00\xff", ttl_s=900
        )
    )
    await store.operations.begin(operation("two", tenant="b"))
    await store.operations.sent("two")
    await committed(store)
    (one,) = await store.operations.in_states("a", {State.RESERVED, State.SENT})
    assert (one.id, one.request_id, one.state, one.charges, one.detail) == (
        "one",
        "r",
        State.RESERVED,
        (("gib", 4),),
        b"\x00\xff",
    )
    assert [
        view.id for view in await store.operations.in_states(None, {State.RESERVED, State.SENT})
    ] == [
        "one",
        "two",
    ]
    assert len(await store.operations.in_states(None, set(State))) == 3
    assert [view.state for view in await store.operations.in_states(None, {State.COMMITTED})] == [
        State.COMMITTED
    ]
    assert await store.operations.in_states("a", {State.UNKNOWN}) == []


async def test_one_operation_can_be_asked_for(store: Store):
    assert await store.operations.get("one") is None
    await store.operations.begin(
        operation("one", Charge("gib", 4, None), request_id="r", detail=b"\x00")
    )
    await store.operations.sent("one")
    await store.operations.commit("one", b"answer", "made", b"\x00first")
    one = await store.operations.get("one")
    assert (one.state, one.charges, one.detail, one.resource_id, one.note) == (
        State.COMMITTED,
        (("gib", 4),),
        b"\x00",
        "made",
        b"\x00first",
    )


async def test_a_topic_lists_its_operations_from_a_moment_on(bench: Bench):
    store = bench.store
    await store.operations.begin(operation("none"))
    for number in range(3):
        await store.operations.begin(operation(f"a{number}", topic="a"))
        await bench.wait(0.01)
    await store.operations.begin(operation("b", topic="{b}"))
    await store.operations.release("a1")
    listed = await store.operations.on_topic("a", 0)
    assert [(view.id, view.state) for view in listed] == [
        ("a0", State.RESERVED),
        ("a1", State.RELEASED),
        ("a2", State.RESERVED),
    ]
    assert [view.id for view in await store.operations.on_topic("a", listed[1].created_at)] == [
        "a1",
        "a2",
    ]
    assert [view.id for view in await store.operations.on_topic("{b}", 0)] == ["b"]
    assert (
        await store.operations.on_topic("", 0)
        == await store.operations.on_topic("nobody's", 0)
        == []
    )


async def test_a_topic_is_read_from_its_newest_operation_on_in_parts(bench: Bench):
    store = bench.store
    for number in range(7):
        await store.operations.begin(operation(f"a{number}", topic="a"))
    await store.operations.begin(operation("b", topic="b"))
    for most in (1, 2, 3, 7, 9):
        listed, before, ended = [], "", False
        while not ended:
            some = await store.operations.recent("a", before, most)
            assert len(some) <= most
            listed += [view.id for view in some]
            ended = len(some) < most
            before = some[-1].position if some else before
        assert sorted(listed, reverse=True) == [f"a{number}" for number in range(6, -1, -1)]
        assert listed == [
            view.id
            for view in sorted(
                await store.operations.on_topic("a", 0),
                key=lambda v: (v.created_at, v.id),
                reverse=True,
            )
        ]
    assert (
        await store.operations.recent("", "", 5)
        == await store.operations.recent("nobody's", "", 5)
        == []
    )


async def test_open_operations_are_read_from_the_oldest_on_in_parts(bench: Bench):
    store = bench.store
    for number in range(7):
        await store.operations.begin(operation(f"a{number}"))
    await store.operations.sent("a1")
    await store.operations.sent("a4")
    await store.operations.unknown("a4")
    await store.operations.release("a2")
    for most in (1, 2, 3, 6, 9):
        listed, after, ended = [], "", False
        while not ended:
            some = await store.operations.opened(after, most)
            listed += some
            ended = len(some) < most
            after = some[-1].position if some else after
        assert listed == sorted(
            await store.operations.in_states(None, OPEN),
            key=lambda view: (view.created_at, view.id),
        )
        assert {view.id for view in listed} == {"a0", "a1", "a3", "a4", "a5", "a6"}


async def test_changes_of_a_topic_are_told_once_whoever_made_them(bench: Bench):
    store = bench.store
    await store.life.epoch()
    await store.operations.begin(operation("none"))
    await store.operations.begin(operation("old", topic="a"))
    first = await store.operations.changes("a", "")
    assert [view.id for view in first.operations] == ["old"]
    assert not (await store.operations.changes("a", first.position)).operations
    await store.operations.begin(operation("lapses", ttl_s=0.05, topic="a"))
    await store.operations.begin(operation("b", topic="b"))
    await store.operations.sent("old")
    await store.operations.commit("old", None, "", b"note")
    second = await store.operations.changes("a", first.position)
    assert [(view.id, view.state, view.note) for view in second.operations] == [
        ("lapses", State.RESERVED, b""),
        ("old", State.COMMITTED, b"note"),
    ]
    await store.operations.note("old", b"newer", b"note")
    await bench.wait(0.1)
    await store.operations.sweep([])
    third = await store.operations.changes("a", second.position)
    assert [(view.id, view.state, view.note) for view in third.operations] == [
        ("old", State.COMMITTED, b"newer"),
        ("lapses", State.EXPIRED, b""),
    ]
    assert not (await store.operations.changes("a", third.position)).operations
    assert [view.id for view in (await store.operations.changes("a", "")).operations] == [
        "old",
        "lapses",
    ]


async def test_after_the_data_were_lost_changes_begin_anew(tmp_path, valkey):
    settings = settings_for("valkey", tmp_path, valkey)
    async with running_bench(settings) as bench:
        store = bench.store
        for number in range(5):
            await store.operations.begin(operation(f"lost{number}", topic="a"))
        position = (await store.operations.changes("a", "")).position
        link = store.operations._link
        keys = [key async for key in link.client.scan_iter(f"{link.base}*")]
        await link.client.delete(*keys)
        await store.life.epoch()
        await store.operations.begin(operation("new", topic="a"))
        assert [view.id for view in (await store.operations.changes("a", position)).operations] == [
            "new"
        ]


async def test_a_note_replaces_only_the_one_that_its_writer_knew(store: Store):
    assert await store.operations.note("nobody", b"new", b"") is False
    await store.operations.begin(operation("one"))
    await store.operations.sent("one")
    await store.operations.commit("one", None, "", b"first")
    await store.operations.commit("one", None, "", b"repeated too late")
    for _ in range(2):
        assert await store.operations.note("one", b"\x00second", b"first")
    assert await store.operations.note("one", b"of another replica", b"first") is False
    assert (await store.operations.get("one")).note == b"\x00second"


async def test_what_ends_an_operation_leaves_its_note(store: Store):
    await store.operations.begin(operation("one"))
    await store.operations.sent("one")
    assert await store.operations.note("one", b"seen", b"")
    await store.operations.unknown("one")
    await store.operations.commit("one", None)
    assert (await store.operations.get("one")).note == b"seen"


async def test_answers_are_forgotten_after_their_time(kind: str, tmp_path, valkey):
    async with running_bench(settings_for(kind, tmp_path, valkey, replay_ttl_s=0.3)) as bench:
        await bench.store.operations.begin(
            operation("one", Charge("gib", 1, None), request_id="r", topic="a")
        )
        await bench.store.operations.sent("one")
        await bench.store.operations.commit("one", b"answer")
        await bench.wait(0.4)
        assert await bench.store.operations.sweep([]) == 0
        assert (
            await bench.store.operations.in_states(None, set(State))
            == await bench.store.operations.on_topic("a", 0)
            == []
        )
        assert await bench.store.operations.get("one") is None
        assert await bench.store.operations.begin(operation("two", request_id="r")) == Admitted()
        assert (await bench.store.counters.usage(["gib"]))["gib"].committed == 1


async def test_overrides_have_a_version_that_grows_with_changes_only(store: Store):
    assert (await store.overrides.all(), await store.overrides.version()) == ({}, 0)
    for _ in range(2):
        await store.overrides.put("payments/vaults", b"\x00 5")
    await store.overrides.put("payments/gib", b"6")
    assert await store.overrides.all() == {"payments/vaults": b"\x00 5", "payments/gib": b"6"}
    for _ in range(2):
        await store.overrides.delete("payments/gib")
    assert (await store.overrides.all(), await store.overrides.version()) == (
        {"payments/vaults": b"\x00 5"},
        3,
    )


async def test_the_last_anchor_of_each_writer_is_kept(store: Store):
    assert await store.anchors.all() == {}
    for writer, anchor in (("one", b"\x00 1"), ("two", b"2"), ("one", b"3")):
        await store.anchors.put(writer, anchor)
    assert await store.anchors.all() == {"one": b"3", "two": b"2"}


async def test_each_cursor_is_read_by_itself(store: Store):
    assert await store.cursors.get("one") == b""
    for name, cursor in (("one", b"\x00 1"), ("two", b"2"), ("one", b"3")):
        await store.cursors.put(name, cursor)
    assert [await store.cursors.get(name) for name in ("one", "two")] == [b"3", b"2"]
    assert await store.cursors.all() == {"one": b"3", "two": b"2"}


async def test_a_server_has_a_clock_of_its_own_and_a_file_has_none(kind: str, store: Store):
    told = await store.life.time()
    assert (told is not None) == (kind == "valkey")
    assert told is None or abs(told - time.time()) < 30


async def test_many_at_once_never_pass_the_limit(store: Store):
    answers = await asyncio.gather(
        *(
            store.operations.begin(operation(uuid.uuid4().hex, Charge("vaults", 1, 20)))
            for _ in range(60)
        )
    )
    assert sum(isinstance(answer, Admitted) for answer in answers) == 20
    assert (await store.counters.usage(["vaults"]))["vaults"].reserved == 20


async def test_unusual_words_are_only_words(store: Store):
    words = ["", "a b", "{other}", "käse:日本", "x\"y'z", "a\nb", "a\x00b", "%s%"]
    assert (
        await store.operations.begin(
            operation(
                "o:{}\n", *(Charge(word, 1, 1) for word in words), request_id='"', tenant="{x}"
            )
        )
        == Admitted()
    )
    assert await store.counters.usage(words) == dict.fromkeys(words, Usage(reserved=1))
    assert [view.id for view in await store.operations.in_states("{x}", {State.RESERVED})] == [
        "o:{}\n"
    ]


async def test_it_answers_and_names_its_data(store: Store):
    await store.overrides.version()
    assert await store.life.epoch() == await store.life.epoch() != ""


def test_charges_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="from 0 to"):
        Charge("gib", -1, None)
    with pytest.raises(ValueError, match="same key"):
        operation("one", Charge("gib", 1, None), Charge("gib", 2, None))
