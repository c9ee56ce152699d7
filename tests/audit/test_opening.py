"""Where a log begins: settings, directories that cannot be used, what others left behind, and what
happens to segments once they are closed.
"""

import gzip
import json
import os
import threading
import time

import msgspec
import pytest
import structlog
from pydantic import ValidationError

from gateway import told
from gateway.audit import events
from gateway.audit.anchors import anchors_in, line_of, signed
from gateway.audit.call_record import Activity, Caller, Declared, Level
from gateway.audit.chain import Head
from gateway.audit.intents import Entry
from gateway.audit.lock import Unusable, locked
from gateway.audit.opening import open_audit
from gateway.audit.query import Query, rows
from gateway.audit.record import Previous, Task
from gateway.audit.retention import Retention
from gateway.audit.segments import record_header, segments
from gateway.audit.settings import AuditSettings
from gateway.audit.sinks import StdoutSink
from gateway.audit.task_record import TaskActivity
from gateway.audit.verify import verify
from gateway.changes.record import OperationDetail
from gateway.clock import SystemClock
from gateway.operations import load_catalog
from gateway.state import StoreSettings, open_store, sqlite_views
from tests.audit.logs import KEYS as OTHER_KEYS
from tests.audit.logs import entry, pack, right, sink
from tests.audit.scenes import KEYS, SECRET, assert_good, audit_section, records
from tests.functional.calls import until
from tests.state.benches import operation

READ = Declared(
    "VaultService/GetVault",
    "read",
    reads=True,
    verb="GET",
    path="/v3",
    operation="ShowVault",
    permission="p",
    level=Level.METADATA,
)


MOMENT = 1e-9
"""In days: what was written some milliseconds ago is older."""


def settings(folder, **more):
    return AuditSettings.model_validate(audit_section(folder, **more))


def read(uid="u", at=1000.0, tenant="payments"):
    return Activity(uid, READ, Caller(tenant=tenant, principal="p"), at, Level.METADATA, code=0)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"directory": "d"}, "needs a key"),
        ({"stdout": True}, "needs a key"),
        ({"directory": "d", "stdout": True, "key": {"env": "K"}}, "Choose one"),
        ({"directory": "d", "key": {"env": "SHORT"}}, "less than 32 characters"),
        ({"trusted_proxies": ["10.0.0.0/99"]}, "is no IP network"),
        ({"writer": "a/b"}, "writer"),
    ],
)
def test_settings_that_make_no_log_are_refused(more, text):
    with pytest.raises(ValidationError, match=text):
        AuditSettings.model_validate(more, context={"environ": {"K": SECRET, "SHORT": "x"}})


async def test_a_directory_that_cannot_be_used_stops_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="cannot be used"):
        async with open_audit(settings(tmp_path, directory=str(tmp_path / "file"))):
            pass


async def test_two_logs_with_one_writer_are_refused_and_with_two_they_share_the_directory(tmp_path):
    async with open_audit(settings(tmp_path)):
        with pytest.raises(Unusable, match="another process writes as 'one'"):
            async with open_audit(settings(tmp_path)):
                pass
        async with open_audit(settings(tmp_path, writer="two")) as second:
            second.ended(events.READ_ENDED, read())
    assert_good(tmp_path)
    assert set(segments(tmp_path / "log")) == {"two"}


async def test_another_key_does_not_go_on_where_the_log_ended(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    before = sink(log, writer="one")
    before.append([entry(1)])
    before.close()
    assert verify(log, OTHER_KEYS)[0].bad is None
    with pytest.raises(Unusable, match="not the key"):
        async with open_audit(settings(tmp_path)):
            pass


async def test_a_removal_that_is_due_at_the_end_is_recorded(tmp_path, monkeypatch):
    looks, ends, answers = threading.Event(), threading.Event(), []

    def remove(self):
        looks.set()
        ends.wait(30)
        # Time for the thread that writes to end, if that were to be first.
        for thread in threading.enumerate():
            if thread.name == "audit":
                thread.join(0.3)
        answers.append(self.recorded("one", Previous(segment=1, sequence=1, mac="")))

    monkeypatch.setattr(Retention, "remove_old", remove)
    with structlog.testing.capture_logs() as said:
        async with open_audit(settings(tmp_path)):
            await until(looks.is_set)
            ends.set()
    assert answers == [True]
    assert not [each for each in said if each["log_level"] == "error"]


async def test_a_start_closes_what_it_and_others_left_open(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    for writer in ("one", "gone"):
        left = sink(log, writer=writer)
        left.keys = KEYS
        left.append([entry(opens=f"of-{writer}")])
    async with open_audit(settings(tmp_path)) as audit:
        assert sorted(audit.unsettled) == ["of-gone", "of-one"]
        audit.settled("of-gone", "DONE")
        audit.settled("of-gone", "DONE")
    assert_good(tmp_path)
    found = [
        (row["unmapped"]["event"], row["metadata"]["correlation_uid"]) for row in records(tmp_path)
    ]
    assert (
        found.count(("CHANGE_UNRESOLVED", "of-one"))
        == found.count(("CHANGE_UNRESOLVED", "of-gone"))
        == 1
    )
    assert found.count(("CHANGE_SETTLED", "of-gone")) == 1
    async with open_audit(settings(tmp_path)) as audit:
        assert "of-one" in audit.unsettled
    assert (
        len([row for row in records(tmp_path) if row["unmapped"]["event"] == "CHANGE_UNRESOLVED"])
        == 2
    )


async def test_a_start_ends_the_streams_that_it_and_others_left_open(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    for writer in ("one", "gone"):
        left = sink(log, writer=writer, max_bytes=1)
        left.keys = KEYS
        for uid in (f"of-{writer}", f"ended-of-{writer}"):
            left.append([started(uid)])
        left.append(
            [
                Entry(
                    read(f"ended-of-{writer}").body(events.STREAM_ENDED),
                    ends=(f"ended-of-{writer}", ""),
                )
            ]
        )
        left.append([entry(1)])
    assert "1 streams have no end yet: of-one" in str(verify(log, KEYS)[1].notes)
    for _ in range(2):
        async with open_audit(settings(tmp_path)) as audit:
            # No fate of theirs will ever be learnt.
            assert audit.unsettled == []
            audit.stream_started(read("of-now"))
            audit.ended(events.STREAM_ENDED, read("of-now"))
    assert_good(tmp_path)
    ends = [row for row in records(tmp_path) if row["unmapped"]["event"] == "STREAM_UNRESOLVED"]
    assert {
        (row["metadata"]["correlation_uid"], row["api"]["operation"], row["metadata"]["tenant_uid"])
        for row in ends
    } == {
        ("of-one", "VaultService/GetVault", "payments"),
        ("of-gone", "VaultService/GetVault", "payments"),
    }
    assert len(ends) == 2


def started(uid):
    activity = read(uid)
    return Entry(activity.body(events.STREAM_STARTED), opens=activity.opened(stream=True))


async def test_closed_segments_are_packed_and_old_ones_removed_with_a_record(tmp_path):
    log = tmp_path / "log"
    async with open_audit(settings(tmp_path, segment_mib=0.003)) as audit:
        for number in range(30):
            audit.ended(events.READ_ENDED, read(str(number)))
            await until(lambda number=number: len(records(tmp_path)) > number)
    packed = sorted(log.glob("*.gz"))
    assert len(packed) >= 3
    assert gzip.decompress(packed[0].read_bytes()).count(b'"event":"LOG_CLOSED"') == 1
    assert_good(tmp_path)
    for path in packed:
        # What a file looks like makes no record older.
        os.utime(path, (1, 1))
    # As after a packing that a crash has cut short.
    plain = packed[1].with_name(packed[1].name.removesuffix(".gz"))
    plain.write_bytes(gzip.decompress(packed[1].read_bytes()))
    before = len(segments(log)["one"])
    async with open_audit(settings(tmp_path, retention_days=1, compress=False)) as audit:
        audit.ended(events.READ_ENDED, read("more"))
    assert all(path.exists() for path in packed)
    async with open_audit(settings(tmp_path, retention_days=MOMENT, compress=False), clocks=right):
        await until(lambda: not packed[0].exists())
    assert not plain.exists()
    assert_good(tmp_path)
    (removed,) = [
        row for row in rows(log, Query(own=True)) if row["unmapped"]["event"] == "SEGMENTS_REMOVED"
    ]
    assert removed["unmapped"]["removed"]["segment"] == before
    # What no record explains is missed.
    segments(log)["one"][0].path.unlink()
    assert "are missing" in str(verify(log, KEYS)[0].bad)


def old_log(folder, writer):
    """A log of three segments by a writer that has gone."""
    log = folder / "log"
    log.mkdir(exist_ok=True)
    left = sink(log, writer=writer, max_bytes=1)
    left.keys = KEYS
    for number in range(3):
        left.append([entry(number)])
    left.close()
    time.sleep(0.02)
    return [each.path for each in segments(log)[writer]]


async def test_old_segments_of_a_writer_that_has_gone_are_removed_too_and_its_log_says_so(tmp_path):
    paths, kept, damaged = (old_log(tmp_path, name) for name in ("gone", "runs", "damaged"))
    pack(damaged[0], cut=20)
    with locked(tmp_path / "log", "runs"):
        async with open_audit(settings(tmp_path, retention_days=MOMENT), clocks=right):
            await until(lambda: not any(path.exists() for path in paths))
    assert "cannot be read" in str(verify(tmp_path / "log", KEYS)[0].bad)
    for each in segments(tmp_path / "log")["damaged"]:
        each.remove()
    assert_good(tmp_path)
    assert all(path.exists() for path in kept)
    (left,) = segments(tmp_path / "log")["gone"]
    assert [
        record_header(line).unmapped.removed.segment for line in left.data().splitlines()[1:2]
    ] == [len(paths)]
    # What no record explains is missed.
    left.path.unlink()
    assert (
        verify(tmp_path / "log", KEYS, [signed(KEYS, "gone", left.number, Head(9, bytes(32)))])[
            0
        ].bad
        is not None
    )


async def test_the_store_remembers_how_long_the_log_was(tmp_path):
    more = {"anchors": None}
    async with open_store(StoreSettings(path=tmp_path / "state.db"), SystemClock()) as store:
        async with open_audit(settings(tmp_path, **more), store.anchors) as audit:
            audit.ended(events.READ_ENDED, read())
        (kept,) = anchors_in((await store.anchors.all()).values())
        (verdict,) = verify(tmp_path / "log", KEYS, [kept])
        assert (verdict.bad, kept.sequence) == (None, verdict.head.sequence)
        path = segments(tmp_path / "log")["one"][0].path
        whole = path.read_bytes()
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
        with pytest.raises(Unusable, match="records are missing"):
            async with open_audit(settings(tmp_path, **more), store.anchors):
                pass
        # Who can write to the store and has no key cannot keep a gateway from starting.
        await store.anchors.put("one", line_of(msgspec.structs.replace(kept, sequence=1000)))
        path.write_bytes(whole)
        async with open_audit(settings(tmp_path, **more), store.anchors):
            pass
    assert_good(tmp_path)


async def test_a_store_that_is_down_keeps_no_log_from_being_written(tmp_path):
    async with open_store(StoreSettings(path=tmp_path / "state.db"), SystemClock()) as store:
        pass
    with structlog.testing.capture_logs() as said:
        async with open_audit(settings(tmp_path), store.anchors) as audit:
            audit.ended(events.READ_ENDED, read())
    assert_good(tmp_path)
    assert [line["cause"] for line in said] == [
        "the store is closed",
        "the store: the store is closed",
    ]


async def test_anchors_that_cannot_be_read_stop_the_start(tmp_path):
    (tmp_path / "anchors").mkdir()
    with pytest.raises(Unusable, match=r"audit\.anchors .*anchors cannot be read"):
        async with open_audit(settings(tmp_path)):
            pass


@pytest.mark.parametrize(
    "name", ["anchors", "log/one.00000001.jsonl", "log/one.00000001.jsonl.gz", "log/one.lock"]
)
@pytest.mark.parametrize("pipe", [True, False])
async def test_a_pipe_or_device_in_the_place_of_a_file_stops_the_start_at_once(
    tmp_path, name, pipe
):
    """To read it may take for ever."""
    (tmp_path / "log").mkdir()
    if pipe:
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(Unusable, match="is not a regular file"):
        async with open_audit(settings(tmp_path)):
            pass


async def test_a_pipe_among_the_segments_of_another_writer_stops_nobody(tmp_path):
    (tmp_path / "log").mkdir()
    os.mkfifo(tmp_path / "log" / "two.00000001.jsonl")
    async with open_audit(settings(tmp_path)) as audit:
        audit.ended(events.READ_ENDED, read())
    lines = (tmp_path / "log" / "one.00000001.jsonl").read_text().splitlines()
    assert "READ_ENDED" in lines[-2] + lines[-1]


async def test_a_start_reads_of_the_store_only_what_is_open_in_the_log(tmp_path, monkeypatch):
    """However many changes have ended since yesterday."""
    log = tmp_path / "log"
    log.mkdir()
    left = sink(log, writer="one")
    left.keys = KEYS
    left.append([entry(opens=name) for name in ("done", "released", "sent", "unheard-of")])
    read, view = [], sqlite_views._view
    detail = OperationDetail("o", "p-1", b"", marked=False, principal="payments/nightly")
    stored = msgspec.msgpack.encode(detail)
    monkeypatch.setattr(sqlite_views, "_view", lambda row: read.append(row) or view(row))
    async with open_store(StoreSettings(path=tmp_path / "state.db"), SystemClock()) as store:
        for name in ("done", "released", "sent", *(f"other-{number}" for number in range(40))):
            # What is stored with one of them is not understood, as by another version.
            detail = b"" if name == "released" else stored
            op = operation(name, rpc="VaultService/CreateVault", detail=detail)
            await store.operations.begin(op)
            await store.operations.sent(name)
        for name in ("done", *(f"other-{number}" for number in range(40))):
            await store.operations.commit(name, None, "vault-1")
        await store.operations.release("released")
        async with open_audit(settings(tmp_path), store.anchors) as audit:
            await told.settle(audit, store.operations, load_catalog(), lambda _: False)
            assert sorted(audit.unsettled) == ["sent", "unheard-of"]
    assert len(read) == 3
    assert_good(tmp_path)
    settled = {
        row["metadata"]["correlation_uid"]: row
        for row in records(tmp_path)
        if row["unmapped"]["event"] == "CHANGE_SETTLED"
    }
    assert settled["done"]["resources"] == [{"type": "vault", "uid": "vault-1"}]
    assert settled["done"]["actor"]["user"]["name"] == "nightly"
    assert settled["done"]["cloud"]["project_uid"] == "p-1"
    assert "user" not in settled["released"]["actor"]


async def test_anchors_that_become_a_pipe_hold_up_nothing(tmp_path):
    with structlog.testing.capture_logs() as said:
        async with open_audit(settings(tmp_path)) as audit:
            audit.ended(events.READ_ENDED, read())
            (tmp_path / "anchors").unlink(missing_ok=True)
            os.mkfifo(tmp_path / "anchors")
    assert "is not a regular file" in [line.get("cause") for line in said]


async def test_a_clock_that_is_set_back_is_recorded_and_disturbs_nothing(tmp_path):
    async with open_audit(settings(tmp_path)) as audit:
        for uid, at in (("a", 2000.0), ("b", 500.0), ("c", 501.0), ("d", 500.5)):
            audit.ended(events.READ_ENDED, read(uid, at))
    assert_good(tmp_path)
    found = list(rows(tmp_path / "log", Query(own=True)))
    (step,) = [row for row in found if row["unmapped"]["event"] == "CLOCK_STEPPED_BACK"]
    assert step["unmapped"]["back_ms"] == 1_500_000
    assert [
        row["metadata"]["correlation_uid"]
        for row in found
        if row["unmapped"]["event"] == "READ_ENDED"
    ] == ["a", "b", "c", "d"]


async def test_streams_and_tasks_leave_their_records(tmp_path):
    async with open_audit(settings(tmp_path)) as audit:
        audit.stream_started(read())
        audit.stream_progressed(read())
        audit.ended(events.STREAM_ENDED, read())
        await audit.task_ended(
            TaskActivity(
                Task(uid="t", status="SUCCEEDED", outcome="succeeded", submission="call-1"),
                "project",
                operation="CheckpointService/CreateCheckpoint",
            )
        )
    found = records(tmp_path)
    assert [row["unmapped"]["stage"] for row in found] == [
        "STREAM_START",
        "STREAM_PROGRESS",
        "STREAM_END",
        "TASK_TERMINAL",
    ]
    assert found[3]["metadata"]["correlation_uid"] == "call-1"


def test_standard_output_is_a_chain_too(tmp_path):
    path = tmp_path / "s.00000001.jsonl"
    with path.open("wb") as file:
        out = StdoutSink(KEYS, file.fileno(), "s")
        out.append([entry(1), entry(2)])
        anchors = [out.checkpoint(), out.close()]
    (verdict,) = verify(tmp_path, KEYS, anchors)
    assert (verdict.bad, verdict.records) == (None, 5)
    assert [
        json.loads(line)["unmapped"]["sequence"] for line in path.read_bytes().splitlines()
    ] == [1, 2, 3, 4, 5]


async def test_without_settings_nothing_is_recorded_and_nothing_refused():
    async with open_audit(AuditSettings()) as audit:
        assert not audit.on
        audit.guard(reads=False)
        await audit.intended(read())
        audit.ended(events.READ_ENDED, read())
        audit.settled("u", "DONE")
