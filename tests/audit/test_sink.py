"""Segments on a disk that fills up, breaks, hangs and comes back; and what a crash leaves
behind.
"""

import asyncio
import errno
import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from gateway.audit.anchors import AnchorFile, last_of
from gateway.audit.lock import Unusable, locked
from gateway.audit.query import Query, rows
from gateway.audit.recovery import position
from gateway.audit.segments import name_of
from gateway.audit.verify import verify
from gateway.audit.writer import Refused, Writer
from tests.audit.logs import KEYS, WRITER, Broken, entry, sink
from tests.functional.calls import until

ROOT = Path(__file__).parents[2]


def good(folder, anchors=()):
    (verdict,) = verify(folder, KEYS, anchors)
    assert verdict.bad is None, str(verdict.bad)
    return verdict


def records(folder):
    return list(rows(folder, Query(own=True)))


def names(folder):
    return [record["unmapped"]["event"] for record in records(folder)]


@pytest.fixture
async def writing(tmp_path):
    """Makes writers on the test's directory; ends them."""
    writers = []

    def make(disk=None, timeout_s=10, **more):
        log = Writer(
            sink(tmp_path, opener=(disk or Broken()).opener, **more),
            timeout_s=timeout_s,
            anchor_s=60,
        )
        log.start()
        writers.append(log)
        return log

    yield make
    for each in writers:
        await each.aclose()


async def test_many_at_once_share_a_sync(tmp_path, writing):
    disk = Broken()
    log = writing(disk)
    await asyncio.gather(*(log.durable(entry(number)) for number in range(200)))
    assert disk.synced < 100
    await log.aclose()
    assert good(tmp_path).records == 202


@pytest.mark.parametrize("fault", ["full", "short", "write", "sync", "open"])
async def test_a_broken_disk_refuses_at_once_and_is_taken_back_without_a_restart(
    fault, tmp_path, writing
):
    disk = Broken("open" if fault == "open" else "")
    log = writing(disk)
    if fault != "open":
        await log.durable(entry(1))
    disk.fault = fault
    with pytest.raises(Refused):
        await log.durable(entry(2))
    log.submit(entry(3))
    assert log.trouble
    disk.fault = ""
    await until(lambda: not log.trouble)
    await log.durable(entry(4))
    await log.aclose()
    verdict = good(tmp_path)
    # Where the disk took part of a batch back only in our books, a note says so.
    assert not verdict.notes or "count for nothing" in verdict.notes[0]
    uids = [record["metadata"].get("correlation_uid", "") for record in records(tmp_path)]
    assert {"call-3", "call-4"} < set(uids)
    assert "LOG_RECOVERED" in names(tmp_path)


def test_a_segment_that_could_not_be_begun_costs_none_of_those_before_it(tmp_path, monkeypatch):
    log = sink(tmp_path, max_bytes=1)
    for number in range(4):
        log.append([entry(number)])
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", broken_sync)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                log.append([entry(9)])
    log.append([entry(5)])
    log.close()
    assert [name for name in names(tmp_path) if name == "READ_ENDED"] == ["READ_ENDED"] * 5
    good(tmp_path)


def broken_sync(_folder):
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_hanging_disk_is_not_waited_for(tmp_path, writing):
    disk = Broken()
    log = writing(disk, timeout_s=0.3)
    await log.durable(entry(1))
    disk.goes_on.clear()
    with pytest.raises(Refused, match="does not end"):
        await log.durable(entry(2))
    await until(lambda: log.trouble)
    with pytest.raises(Refused):
        await log.durable(entry(3))
    disk.goes_on.set()
    await until(lambda: not log.trouble)
    await log.durable(entry(4))
    await log.aclose()
    good(tmp_path)


async def test_what_waits_at_the_end_is_written_at_once_however_slow_the_disk_is(tmp_path, writing):
    disk = Broken()
    log = writing(disk)
    disk.goes_on.clear()
    log.submit(entry(0))
    # It is being written, and everything else waits.
    await until(lambda: log.waiting == 0)
    for number in range(1, 3000):
        log.submit(entry(number))
    ending = asyncio.create_task(log.aclose())
    await until(lambda: log._worker.closing)
    disk.goes_on.set()
    await ending
    assert good(tmp_path).records == 3002
    # The first one, all others, and that the log is closed.
    assert disk.synced == 3


async def test_the_last_records_outlive_a_passing_trouble(tmp_path, writing):
    disk = Broken()
    log = writing(disk)
    await log.durable(entry(0))
    disk.fault, disk.faults = "sync", 2
    log.submit(entry(1))
    with structlog.testing.capture_logs() as said:
        await log.aclose()
    assert not [each for each in said if "without its last records" in each["event"]]
    assert good(tmp_path).records >= 4
    assert "call-1" in [row["metadata"].get("correlation_uid") for row in records(tmp_path)]


async def test_what_has_no_room_is_counted(tmp_path, writing, monkeypatch):
    monkeypatch.setattr("gateway.audit.writer.MAX_WAITING", 10)
    disk = Broken("write")
    log = writing(disk)
    with pytest.raises(Refused):
        await log.durable(entry(0))
    await until(lambda: log.trouble)
    for number in range(25):
        log.submit(entry(number))
    disk.fault = ""
    await until(lambda: not log.trouble)
    await log.aclose()
    kept = names(tmp_path).count("READ_ENDED")
    assert kept < 25
    assert kept + sum(record["unmapped"].get("lost", 0) for record in records(tmp_path)) == 25


def test_an_incomplete_last_line_is_set_aside_and_never_taken_for_a_record(tmp_path):
    log = sink(tmp_path)
    log.append([entry(number) for number in range(3)])
    path = tmp_path / name_of(WRITER, 1)
    whole = path.read_bytes()
    for cut in (1, 40, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        found = position(tmp_path, WRITER, KEYS, None)
        assert found.head.sequence == 3
        assert found.torn is not None
        assert found.torn.path.read_bytes() + b"" == whole[:-cut].rpartition(b"\n")[2]
        found.torn.path.unlink()
    path.write_bytes(whole + bytes(100))
    assert position(tmp_path, WRITER, KEYS, None).torn is not None
    again = sink(tmp_path)
    again.append([entry(4)])
    again.close()
    assert good(tmp_path).records == 7


def test_a_crash_while_a_segment_was_begun_leaves_nothing_to_repair_by_hand(tmp_path):
    log = sink(tmp_path)
    log.append([entry(1)])
    (tmp_path / name_of(WRITER, 2)).write_bytes(b'{"class_uid":6003,"cat')
    again = sink(tmp_path)
    assert again.number == 1
    again.append([entry(2)])
    again.close()
    good(tmp_path)


def test_nothing_is_built_upon_a_log_that_was_changed(tmp_path):
    log = sink(tmp_path)
    log.append([entry(number) for number in range(3)])
    anchor = log.checkpoint()
    path = tmp_path / name_of(WRITER, 1)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"call-1", b"call-9"))
    with pytest.raises(Unusable, match=r"line 3 .* does not fit the chain"):
        sink(tmp_path)
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    sink(tmp_path)
    with pytest.raises(Unusable, match="records are missing"):
        sink(tmp_path, anchored=anchor)


def test_open_intents_are_known_after_a_crash_also_from_an_older_segment(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    log.append([entry(opens="a")])
    log.append([entry(opens="b")])
    log.append([entry(closes="a")])
    found = position(tmp_path, WRITER, KEYS, None)
    assert [(each.uid, each.operation, each.tenant) for each in found.open] == [
        ("b", "VaultService/GetVault", "payments")
    ]


def test_two_processes_cannot_write_as_one(tmp_path):
    with locked(tmp_path, WRITER):
        with pytest.raises(Unusable, match="of its own"), locked(tmp_path, WRITER):
            pass
        with locked(tmp_path, "another"):
            pass
    with locked(tmp_path, WRITER):
        pass


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="cannot be used"), locked(tmp_path / "file", WRITER):
        pass


def test_a_packed_segment_is_part_of_the_chain(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(3):
        log.append([entry(number)])
    log.close()
    first = tmp_path / name_of(WRITER, 1)
    first.with_name(f"{first.name}.gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    assert good(tmp_path).records == 9
    packed = first.with_name(f"{first.name}.gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "cannot be read" in str(verify(tmp_path, KEYS)[0].bad)


def test_a_packed_segment_that_was_changed_is_named_whatever_became_of_it(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(2):
        log.append([entry(number)])
    log.close()
    first = tmp_path / name_of(WRITER, 1)
    whole = gzip.compress(first.read_bytes())
    first.unlink()
    packed = first.with_name(f"{first.name}.gz")
    # Behind its header, in which a time and the like may change without harm.
    for place in range(10, len(whole), 7):
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        bad = verify(tmp_path, KEYS)[0].bad
        assert bad is not None
        assert bad.sequence == 1


def test_anchors_survive_a_line_that_was_cut_short(tmp_path):
    log = sink(tmp_path / ".")
    log.append([entry(1)])
    anchors = AnchorFile(tmp_path / "elsewhere" / "anchors")
    assert anchors.read() == []
    first = log.checkpoint()
    anchors.add(first)
    with anchors.path.open("ab") as file:
        file.write(b'{"writer":"he')
    assert last_of(anchors.read(), WRITER) == first
    assert last_of(anchors.read(), "nobody") is None


WRITING = """
import sys
from tests.audit.logs import entry, sink
from pathlib import Path
log = sink(Path(sys.argv[1]), max_bytes=20_000)
number = 0
while True:
    log.append([entry(number + i) for i in range(5)])
    number += 5
    print(number, flush=True)
"""


def test_what_was_told_durable_survives_a_kill_at_any_moment(tmp_path):
    told = 0
    for _ in range(int(os.environ.get("AUDIT_SOAK", "0")) * 20 or 3):
        command = [sys.executable, "-c", WRITING, str(tmp_path)]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}/generated/python:{ROOT}"},
        ) as process:
            for _ in range(40):
                told += 5 * bool(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            process.communicate()
    kept = [record for record in records(tmp_path) if record["unmapped"]["event"] == "READ_ENDED"]
    assert len(kept) >= told
    good(tmp_path)
