"""What only the embedded store can meet: its file, its thread, its memory."""

import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import (
    Admitted,
    Bucket,
    Charge,
    Replay,
    Slot,
    StoreDown,
    StoreSettings,
    Usage,
    open_store,
)
from gateway.state.local import LocalLimits
from gateway.state.sqlite_thread import SqlThread
from tests.fakes import SteppedClock
from tests.state.benches import operation


async def test_everything_but_rates_and_leases_is_there_after_reopening(tmp_path):
    settings = StoreSettings(path=tmp_path / "state.db", timeout_s=5)
    async with open_store(settings, SystemClock()) as store:
        epoch = await store.life.epoch()
        await store.operations.begin(operation("one", Charge("vaults", 1, 1), request_id="r"))
        await store.operations.sent("one")
        await store.overrides.put("k", b"v")
        await store.anchors.put("one", b"5")
        fence = await store.counters.fence()
    async with open_store(settings, SystemClock()) as store:
        assert await store.life.epoch() == epoch
        assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(reserved=1)
        assert await store.operations.sweep([]) == 0
        assert (await store.overrides.all(), await store.overrides.version()) == ({"k": b"v"}, 1)
        assert await store.anchors.all() == {"one": b"5"}
        assert await store.counters.fence() > fence
        await store.operations.commit("one", b"late")


DAY_S = 24 * 3600


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("others", [[], [DAY_S / 2]])
async def test_what_is_old_by_one_clock_alone_is_not_forgotten(started, others, tmp_path):
    """It jumps ahead while the process runs, or before it starts; others may tell the time."""
    settings, clock = StoreSettings(path=tmp_path / "state.db", timeout_s=5), SteppedClock(0.0)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings, clock))
        await store.operations.begin(operation("one", request_id="r"))
        await store.operations.sent("one")
        await store.operations.commit("one", b"answer")
        clock.start += 400 * DAY_S
        if started:
            await stack.aclose()
            store = await stack.enter_async_context(open_store(settings, clock))
        await store.operations.sweep(others)
        assert await store.operations.begin(operation("two", request_id="r")) == Replay(b"answer")
        clock.advance(DAY_S + 1)
        await store.operations.sweep([each + DAY_S for each in others])
        assert await store.operations.begin(operation("two", request_id="r")) == Admitted()


async def test_the_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "state.db"
    async with open_store(StoreSettings(path=path), SystemClock()) as store:
        await store.overrides.version()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
async def test_a_file_that_cannot_be_used_is_told(tmp_path, content):
    path = tmp_path / "state.db" if content else tmp_path / "nowhere" / "state.db"
    if content:
        path.write_bytes(content)
    with pytest.raises(StoreDown, match=r"state\.db cannot be used as a store"):
        async with open_store(StoreSettings(path=path), SystemClock()):
            pass


UNPRIVILEGED = """
import asyncio, os, sys
from pathlib import Path
from gateway.clock import SystemClock
from gateway.state import StoreDown, StoreSettings, open_store
from gateway.state.opening import try_store

async def opened(settings):
    async with open_store(settings, SystemClock()):
        print("open")

if os.getuid() == 0:
    os.setuid(65534)
settings = StoreSettings(path=Path(sys.argv[1]))
for use in (try_store, opened):
    try:
        asyncio.run(use(settings))
    except StoreDown as down:
        print(down)
"""


@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o777), (0o666, 0o555)])
def test_a_file_that_this_user_may_not_change_is_told_with_what_to_do(file, folder):
    """Also where it is the folder, in which SQLite makes others beside it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "state.db"
        path.touch()
        path.chmod(file)
        path.parent.chmod(folder)
        told = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    assert len(told.stdout.splitlines()) == 2
    for line in told.stdout.splitlines():
        assert re.search("not permitted|denied", line)
        assert line.endswith("Give state.path a file that this user may write to")


@pytest.mark.parametrize("pipe", [True, False])
async def test_a_pipe_or_device_is_no_store(tmp_path, pipe):
    path = tmp_path / "state.db"
    if pipe:
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(StoreDown, match="is not a regular file"):
        async with open_store(StoreSettings(path=path), SystemClock()):
            pass


async def test_a_file_of_a_later_version_is_left_alone(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreDown, match="later version"):
        async with open_store(StoreSettings(path=path), SystemClock()):
            pass


async def test_a_file_of_an_earlier_version_is_brought_up_to_date(tmp_path):
    path = tmp_path / "state.db"
    async with open_store(StoreSettings(path=path), SystemClock()) as store:
        await store.operations.begin(operation("one", request_id="r"))
    with sqlite3.connect(path) as db:
        db.executescript(
            "DROP INDEX by_change; ALTER TABLE operation DROP COLUMN changed; DROP INDEX by_topic;"
            " ALTER TABLE operation DROP COLUMN topic;ALTER TABLE operation DROP COLUMN note; DROP"
            " TABLE anchor; DROP TABLE cursor; DROP TABLE queued; PRAGMA user_version = 1"
        )
    db.close()
    async with open_store(StoreSettings(path=path), SystemClock()) as store:
        assert (await store.operations.get("one")).note == b""
        await store.operations.begin(operation("two", topic="a"))
        assert [view.id for view in await store.operations.on_topic("a", 0)] == ["two"]


async def test_a_job_that_fails_leaves_nothing_to_those_that_share_its_commit():
    def prepare(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE t (n)")

    def failing(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES (2)")
        raise KeyError("one")

    thread = SqlThread(":memory:", prepare, 5)
    await thread.open()
    gate = threading.Event()
    blocker = asyncio.create_task(thread.run(lambda _: gate.wait(5)))
    jobs = [
        lambda db: db.execute("INSERT INTO t VALUES (1)").rowcount,
        failing,
        lambda db: db.execute("INSERT INTO t VALUES (3)").rowcount,
    ]
    grouped = [asyncio.create_task(thread.run(job)) for job in jobs]
    await asyncio.sleep(0.05)
    gate.set()
    first, second, third = await asyncio.gather(*grouped, return_exceptions=True)
    assert (first, third) == (1, 1)
    assert isinstance(second, KeyError)
    assert await thread.run(lambda db: db.execute("SELECT n FROM t").fetchall()) == [(1,), (3,)]
    await blocker
    await thread.close()
    with pytest.raises(StoreDown, match="closed"):
        await thread.run(lambda _: None)


async def test_a_disk_that_hangs_is_down_within_the_timeout_and_what_had_not_begun_never_happens():
    def prepare(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE t (n)")

    thread = SqlThread(":memory:", prepare, 0.1)
    await thread.open()
    gate = threading.Event()
    calls = [
        thread.run(lambda _: gate.wait(5)),
        thread.run(lambda db: db.execute("INSERT INTO t VALUES (1)")),
    ]
    assert [type(answer) for answer in await asyncio.gather(*calls, return_exceptions=True)] == [
        StoreDown,
        StoreDown,
    ]
    gate.set()
    assert await thread.run(lambda db: db.execute("SELECT n FROM t").fetchall()) == []
    await thread.close()


async def test_a_process_that_stood_still_reads_the_answer_that_came_meanwhile():
    thread = SqlThread(":memory:", lambda _: None, 1.0)
    await thread.open()
    asked = asyncio.create_task(thread.run(lambda _: "an answer"))
    await asyncio.sleep(0)
    time.sleep(1.1)  # noqa: ASYNC251 - the process itself, with its event loop
    assert await asked == "an answer"
    await thread.close()


async def test_a_full_disk_is_down_and_heals(tmp_path):
    """The page limit stands for the disk; lifting it for space that comes back."""
    async with open_store(
        StoreSettings(path=tmp_path / "state.db", timeout_s=5), SystemClock()
    ) as store:
        await store.operations._database.run(
            lambda db: db.execute("PRAGMA max_page_count = 25").fetchone()
        )
        with pytest.raises(StoreDown, match="full"):
            await store.operations.begin(
                operation("big", Charge("vaults", 1, 5), detail=b"x" * 300_000)
            )
        assert (await store.counters.usage(["vaults"]))["vaults"] == Usage()
        await store.operations._database.run(
            lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone()
        )
        assert (
            await store.operations.begin(
                operation("big", Charge("vaults", 1, 5), detail=b"x" * 300_000)
            )
            == Admitted()
        )


def removed(path):
    path.unlink()


def log_removed(path):
    path.with_name("state.db-wal").unlink()


def restored(path):
    """As from a backup, in its place."""
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def folder_emptied(path):
    for file in list(path.parent.iterdir()):
        file.unlink()


@pytest.mark.parametrize("lose", [removed, log_removed, restored, folder_emptied])
async def test_nothing_is_written_to_a_file_that_the_next_process_will_not_find(tmp_path, lose):
    path = tmp_path / "state.db"
    async with open_store(StoreSettings(path=path, timeout_s=5), SystemClock()) as store:
        assert await store.operations.begin(operation("one", request_id="r")) == Admitted()
        lose(path)
        for _ in range(2):
            with pytest.raises(StoreDown, match="was removed or replaced while it was in use"):
                await store.operations.begin(operation("two"))
    async with open_store(StoreSettings(path=path, timeout_s=5), SystemClock()) as store:
        assert await store.operations.begin(operation("two")) == Admitted()


@pytest.mark.parametrize("again", [False, True])
async def test_a_file_that_was_put_back_is_used_again(tmp_path, again):
    (tmp_path / "in").mkdir()
    settings = StoreSettings(path=tmp_path / "in" / "state.db", timeout_s=5)
    if again:
        async with open_store(settings, SystemClock()) as store:
            await store.life.epoch()
    async with open_store(settings, SystemClock()) as store:
        assert await store.operations.begin(operation("one", request_id="r")) == Admitted()
        (tmp_path / "in").rename(tmp_path / "away")
        with pytest.raises(StoreDown):
            await store.operations.begin(operation("two"))
        (tmp_path / "away").rename(tmp_path / "in")
        assert await store.operations.begin(operation("two")) == Admitted()
    async with open_store(settings, SystemClock()) as store:
        assert [view.id for view in await store.operations.opened("", 9)] == ["one", "two"]


def test_memory_follows_the_keys_in_use():
    clock = SteppedClock()
    limits = LocalLimits(clock)
    for number in range(5000):
        clock.advance(0.01)
        limits.take([Bucket(f"b{number}", 100, 10)])
        limits.lease("h", [Slot(f"s{number}", 1)], 0.01)
    assert len(limits._debts) < 1000
    assert len(limits._leases) < 1000


def test_settings_say_what_a_valkey_needs():
    with pytest.raises(ValidationError, match="valkey://"):
        StoreSettings(kind="valkey")
    assert StoreSettings(kind="valkey", url=Secret("rediss://host:6380/0")).prefix == "cbrgw"
    with pytest.raises(ValidationError):
        StoreSettings(prefix="a{b}")
