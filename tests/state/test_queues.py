"""Queues: in order, each key once, bounded, whatever the store."""


async def test_what_is_put_is_read_in_order_until_it_is_removed(store):
    queues = store.queues
    for n in range(5):
        assert await queues.put("a", f"k{n}", b"v%d" % n, 10) == []
    await queues.put("b", "k0", b"other", 10)
    found = await queues.read("a", 0, 3)
    assert [(each.key, each.value) for each in found] == [(f"k{n}", b"v%d" % n) for n in range(3)]
    rest = await queues.read("a", found[-1].position, 10)
    assert [each.key for each in rest] == ["k3", "k4"]
    await queues.remove("a", ["k0", "k3", "nothing"])
    await queues.remove("a", [])
    assert [each.key for each in await queues.read("a", 0, 10)] == ["k1", "k2", "k4"]
    assert (await queues.length("a"), await queues.length("b")) == (3, 1)
    assert await queues.length("c") == 0


async def test_a_key_is_in_a_queue_once_and_keeps_its_place(store):
    queues = store.queues
    await queues.put("a", "one", b"1", 10)
    await queues.put("a", "two", b"2", 10)
    await queues.put("a", "one", b"again", 10)
    assert [each.value for each in await queues.read("a", 0, 10)] == [b"1", b"2"]
    await queues.remove("a", ["one"])
    await queues.put("a", "one", b"again", 10)
    assert [each.value for each in await queues.read("a", 0, 10)] == [b"2", b"again"]


async def test_what_is_too_much_is_taken_out_at_the_beginning(store):
    queues = store.queues
    taken = [await queues.put("a", f"k{n}", b"%d" % n, 2) for n in range(4)]
    assert [[(each.key, each.value) for each in some] for some in taken] == [
        [],
        [],
        [("k0", b"0")],
        [("k1", b"1")],
    ]
    assert [each.key for each in await queues.read("a", 0, 10)] == ["k2", "k3"]
    # Fewer than before are allowed.
    assert [each.key for each in await queues.put("a", "k4", b"4", 1)] == ["k2", "k3"]


async def test_the_newest_of_a_queue_is_known(store):
    queues = store.queues
    assert await queues.last("a") is None
    for n in range(3):
        await queues.put("a", f"k{n}", b"v", 10)
    await queues.put("b", "other", b"v", 10)
    newest = (await queues.read("a", 0, 10))[-1]
    assert await queues.last("a") == newest
    await queues.remove("a", ["k2"])
    last = await queues.last("a")
    assert last is not None
    assert last.key == "k1"
