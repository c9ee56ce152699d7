"""Awkward moments: what a review of the log has found once and must not come back."""

import errno
import os
import threading

import grpc
import msgspec
import pytest
import structlog
from cbrgateway.v1 import quota_pb2, task_pb2
from cbrgateway.v1.quota_pb2_grpc import QuotaServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from gateway.audit import events, export
from gateway.audit.anchors import AnchorFile, Anchors, signed
from gateway.audit.chain import Head, stated
from gateway.audit.events import own_record
from gateway.audit.export import Backlog
from gateway.audit.intents import Entry
from gateway.audit.lock import Unusable, locked
from gateway.audit.opening import open_audit
from gateway.audit.otlp import _record
from gateway.audit.query import Query, rows
from gateway.audit.record import Previous
from gateway.audit.recovery import position
from gateway.audit.segments import Disk, name_of, segments
from gateway.audit.sinks import StdoutSink
from gateway.audit.verify import verify
from gateway.audit.writer import _MAX_BYTES, Writer
from tests.audit.logs import KEYS, WRITER, Broken, entry, pack, sink
from tests.audit.scenes import KEYS as OURS
from tests.audit.scenes import assert_good, audited_gateway, records
from tests.audit.scenes import events as told
from tests.audit.test_opening import read, settings
from tests.functional.calls import until
from tests.quota.scenes import outcome

LIMIT = {"metric": "QUOTA_METRIC_POLICIES", "level": "QUOTA_LEVEL_TENANT", "value": 100}


# Calls
# --------------------------------------------------------------------------------------------------


async def test_a_change_of_the_gateways_own_that_was_not_begun_has_done_nothing(
    tmp_path, monkeypatch
):
    whole, full = Disk.write, True

    def write(disk, data):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(disk, data)

    async with audited_gateway(tmp_path) as world:
        monkeypatch.setattr(Disk, "write", write)
        wanted = quota_pb2.SetLimitRequest(limit=LIMIT)
        assert (
            await outcome(world, world.stub(QuotaServiceStub).SetLimit, wanted, "admin")
        ).reason == "AUDIT_DOWN"
        full = False
        await until(lambda: "CHANGE_ENDED" in told(tmp_path))
    (row,) = [row for row in records(tmp_path) if row["unmapped"]["event"] == "CHANGE_ENDED"]
    assert (row["unmapped"]["fate"], row["api"]["response"]["error"]) == ("NOTHING", "AUDIT_DOWN")
    assert_good(tmp_path, after_failed_writes=True)


async def test_a_stream_that_is_refused_is_on_record_whatever_the_rules_say(tmp_path):
    async with audited_gateway(tmp_path, {"policy": [{"level": "none"}]}) as world:
        watch = world.stub(TaskServiceStub).WatchTasks
        for wrong in ({"resume_token": "forged"}, {"filter": {"task_ids": ["a/../b"]}}):
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in watch(
                    task_pb2.WatchTasksRequest(**wrong), metadata=world.metadata(), timeout=20
                ):
                    pass
        call = watch(task_pb2.WatchTasksRequest(), metadata=world.metadata(), timeout=20)
        await call.read()
        call.cancel()
    assert sorted(row["api"]["response"]["error"] for row in records(tmp_path)) == [
        "FIELD_INVALID",
        "RESUME_TOKEN_MISMATCH",
    ]


# Starts
# --------------------------------------------------------------------------------------------------


async def test_a_start_waits_for_another_one_that_looks_after_what_it_takes_for_gone(tmp_path):
    (tmp_path / "log").mkdir()
    held, done = threading.Event(), threading.Event()

    def other():
        with locked(tmp_path / "log", "one"):
            held.set()
            done.wait(0.5)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(20)
    async with open_audit(settings(tmp_path)) as audit:
        audit.ended(events.READ_ENDED, read())
    done.set()
    thread.join()
    assert_good(tmp_path)


async def test_a_torn_end_of_a_writer_that_has_gone_is_told_too(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    left = sink(log, writer="gone")
    left.keys = OURS
    left.append([entry(1)])
    path = log / name_of("gone", 1)
    path.write_bytes(path.read_bytes() + b'{"class_uid":60')
    with structlog.testing.capture_logs() as said:
        async with open_audit(settings(tmp_path)):
            pass
    assert [line["event"] for line in said if line["log_level"] == "warning"] == [
        "the end of the audit log was incomplete and is set aside"
    ]
    assert "LOG_REPAIRED" in told(tmp_path, own=True)
    assert_good(tmp_path)


def holed(folder, line):
    """A log of which a power loss has taken a page behind the last anchor: nothing of the batch was
    known to be on disk. Returns that anchor.
    """
    log = sink(folder)
    log.append([entry(number) for number in range(3)])
    anchor = log.checkpoint()
    log.append([entry(number) for number in range(10, 16)])
    path = folder / name_of(WRITER, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = bytes(len(lines[line]))
    path.write_bytes(b"".join(lines))
    return anchor


def test_a_hole_behind_the_last_anchor_is_set_aside_with_what_follows(tmp_path):
    anchor = holed(tmp_path, 6)
    with pytest.raises(Unusable, match="does not fit the chain"):
        position(tmp_path, WRITER, KEYS, None)
    found = position(tmp_path, WRITER, KEYS, anchor)
    assert (found.head.sequence, found.torn is not None) == (6, True)
    again = sink(tmp_path, anchored=anchor)
    again.append([entry(1)])
    again.close()
    assert verify(tmp_path, KEYS, [anchor])[0].bad is None


def test_a_hole_before_the_last_anchor_is_no_crash(tmp_path):
    anchor = holed(tmp_path, 2)
    with pytest.raises(Unusable, match=r"line 3 .* does not fit the chain"):
        position(tmp_path, WRITER, KEYS, anchor)


def test_a_segment_under_another_number_is_not_gone_on_from(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    log.append([entry(1)])
    log.append([entry(2)])
    (tmp_path / name_of(WRITER, 3)).write_bytes((tmp_path / name_of(WRITER, 1)).read_bytes())
    with pytest.raises(Unusable, match=r"line 1 of .*00000003"):
        position(tmp_path, WRITER, KEYS, None)


def test_a_file_that_another_process_has_made_is_not_removed(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    log.append([entry(1)])
    foreign = tmp_path / name_of(WRITER, 2)
    foreign.write_bytes(b"somebody's records\n")
    for _ in range(2):
        with pytest.raises(FileExistsError):
            log.append([entry(2)])
    assert foreign.read_bytes() == b"somebody's records\n"


# Anchors
# --------------------------------------------------------------------------------------------------


async def test_a_place_that_hangs_delays_nothing_and_its_anchors_are_the_newest(tmp_path):
    goes_on = threading.Event()
    got = []

    class Hanging:
        def add(self, anchor):
            got.append(anchor.sequence)
            goes_on.wait(20)

    anchors = Anchors([Hanging()])
    anchors.start()
    for number in range(1, 6):
        anchors.put(signed(KEYS, WRITER, 1, Head(number, bytes(32))))
        await until(lambda: got)
    assert got == [1]
    goes_on.set()
    anchors.close()
    assert got == [1, 5]


def test_an_anchor_survives_the_fragment_before_it(tmp_path):
    file = AnchorFile(tmp_path / "anchors")
    file.path.write_bytes(b'{"writer":"he')
    anchor = signed(KEYS, WRITER, 1, Head(1, bytes(32)))
    file.add(anchor)
    file.add(anchor)
    assert file.read() == [anchor, anchor]


def test_of_many_anchors_the_last_genuine_one_of_each_writer_counts(tmp_path):
    file = AnchorFile(tmp_path / "anchors")
    for writer in ("a", "b"):
        for number in (1, 2):
            file.add(signed(KEYS, writer, 1, Head(number, bytes(32))))
    file.add(msgspec.structs.replace(signed(KEYS, "a", 1, Head(3, bytes(32))), sequence=9))
    assert {anchor.writer: anchor.sequence for anchor in file.last(KEYS, {"a", "b", "nobody"})} == {
        "a": 2,
        "b": 2,
    }


# Writing
# --------------------------------------------------------------------------------------------------


def test_standard_output_that_takes_nothing_costs_no_memory_and_repeats_nothing(tmp_path):
    full = os.open("/dev/full", os.O_WRONLY)
    path = tmp_path / "out"
    log = StdoutSink(KEYS, full, WRITER)
    owed = [entry(number) for number in range(50)]
    for _ in range(10):
        with pytest.raises(OSError, match="No space"):
            log.append(owed)
    size = len(log._rest)
    with path.open("wb") as file:
        os.dup2(file.fileno(), full)
    log.append([*owed, entry(50)])
    os.close(full)
    assert path.stat().st_size < 1.2 * size
    target = tmp_path / name_of(WRITER, 1)
    path.rename(target)
    assert (verify(tmp_path, KEYS)[0].bad, verify(tmp_path, KEYS)[0].records) == (None, 52)


async def test_what_is_owed_has_a_bound_and_is_paid_in_parts(tmp_path):
    disk = Broken("write")
    log = Writer(sink(tmp_path, opener=disk.opener), timeout_s=5, anchor_s=60)
    log.start()
    body = own_record(events.READ_ENDED, subject="x" * (1 << 20))
    for _ in range(_MAX_BYTES // len(body) + 20):
        log.submit(Entry(body))
    await until(lambda: log.trouble)
    assert log._bytes < _MAX_BYTES + 2 * len(body)
    disk.fault = ""
    await until(lambda: not log.trouble)
    await log.aclose()
    found = [row["unmapped"] for row in rows(tmp_path, Query(own=True))]
    assert (
        sum(row["event"] == "READ_ENDED" for row in found)
        + sum(row.get("lost", 0) for row in found)
        == _MAX_BYTES // len(body) + 20
    )
    assert log._bytes == 0


# Verifying
# --------------------------------------------------------------------------------------------------


def test_a_segment_that_is_just_being_begun_makes_no_log_bad(tmp_path):
    log = sink(tmp_path)
    log.append([entry(1)])
    path = tmp_path / name_of(WRITER, 1)
    path.write_bytes(path.read_bytes() + b'{"cut')
    (tmp_path / name_of(WRITER, 2)).touch()
    assert verify(tmp_path, KEYS)[0].bad is None


def test_logs_with_keys_of_their_own_are_verified_by_name(tmp_path):
    for writer, keys in (("old", OURS), ("new", KEYS)):
        log = sink(tmp_path, writer=writer)
        log.keys = keys
        log.append([entry(1)])
        log.close()
    assert [each.bad is None for each in verify(tmp_path, KEYS)] == [True, False]
    (only,) = verify(tmp_path, KEYS, writers=["new"])
    assert (only.writer, only.bad) == ("new", None)


# Sending
# --------------------------------------------------------------------------------------------------


def test_a_next_segment_that_says_nothing_yet_does_not_end_the_one_before(tmp_path):
    log = sink(tmp_path)
    log.append([entry(1)])
    coming = tmp_path / name_of(WRITER, 2)
    looked = 0

    def durable():
        nonlocal looked
        known = log.head.sequence
        if not looked:
            log.append([entry(2)])
            coming.touch()
        looked += 1
        return known

    left = Backlog(tmp_path, WRITER, lambda: 0)
    left.durable = durable
    assert len(left.take()) == 2
    coming.unlink()
    assert len(left.take()) == 1


def test_trouble_that_passes_loses_nothing(tmp_path, monkeypatch):
    log = sink(tmp_path, max_bytes=1)
    for number in range(3):
        log.append([entry(number)])
    left = Backlog(tmp_path, WRITER, lambda: log.head.sequence)

    def failing(_directory):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(export, "segments", failing)
        with pytest.raises(OSError, match="Too many"):
            left.take()
    got = []
    while batch := left.take():
        got += batch
    assert len(got) == log.head.sequence


def test_lines_that_somebody_has_taken_or_broken_keep_nothing_else_from_being_sent(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(3):
        log.append([entry(number) for _ in range(3)])
    first = segments(tmp_path)[WRITER][0].path
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(
        b"".join([*lines[:2], lines[2].replace(b'{"class_uid":', b'{class_uid":', 1), *lines[3:4]])
    )
    with structlog.testing.capture_logs() as said:
        got = Backlog(tmp_path, WRITER, lambda: log.head.sequence).take()
    assert len(got) == log.head.sequence - 1
    assert (said[0]["first"], said[0]["last"]) == (5, 5)
    broken = _record(got[2])
    assert broken.body.string_value.startswith('{class_uid"')
    assert broken.severity_text == "WARN"
    assert not broken.attributes


def test_a_damaged_segment_is_passed_over_once(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(3):
        log.append([entry(number)])
    pack(segments(tmp_path)[WRITER][0].path, cut=20)
    left = Backlog(tmp_path, WRITER, lambda: log.head.sequence)
    with structlog.testing.capture_logs() as said:
        assert len(left.take()) + len(left.take()) == log.head.sequence - 3
    assert len(said) == 1


def test_what_was_removed_first_is_not_forgotten_over_what_was_removed_later(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(4):
        log.append([entry(number)])
    heads = [
        (each, stated(each.data().splitlines()[-1])) for each in segments(tmp_path)[WRITER][:2]
    ]
    for each, head in reversed(heads):
        removed = Previous(segment=each.number, sequence=head.sequence, mac=head.mac.hex())
        log.append([Entry(own_record(events.SEGMENTS_REMOVED, removed=removed))])
    for each, _ in heads:
        each.remove()
    assert verify(tmp_path, KEYS)[0].bad is None
