"""Somebody removes, moves, replaces or changes the file that is written to, its lock, or the
directory of both.
"""

import asyncio
import shutil

import pytest
import structlog

from gateway.audit import events
from gateway.audit.events import own_record
from gateway.audit.intents import Entry
from gateway.audit.lock import locked
from gateway.audit.query import Query, rows
from gateway.audit.recovery import position
from gateway.audit.segments import name_of, segments
from gateway.audit.verify import verify
from tests.audit.logs import KEYS, WRITER, Broken, entry, sink
from tests.audit.scenes import audited_gateway
from tests.functional.calls import caller, until
from tests.functional.stage import vault_request


def remove(folder, path):
    path.unlink()


def move(folder, path):
    path.rename(folder.parent / "elsewhere.jsonl")


def move_inside(folder, path):
    path.rename(folder / "kept.old")


def replace(folder, path):
    path.rename(folder.parent / "elsewhere.jsonl")
    path.write_text("somebody's\n")


def replace_by_a_copy(folder, path):
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole)


def replace_by_a_link(folder, path):
    path.rename(folder.parent / "elsewhere.jsonl")
    path.symlink_to(folder.parent / "elsewhere.jsonl")


def remove_the_directory(folder, path):
    shutil.rmtree(folder)


def move_the_directory(folder, path):
    folder.rename(folder.parent / "old-log")


def replace_the_directory(folder, path):
    folder.rename(folder.parent / "old-log")
    folder.mkdir()


def replace_the_directory_by_a_copy(folder, path):
    folder.rename(folder.parent / "old-log")
    shutil.copytree(folder.parent / "old-log", folder)


def cut(folder, path):
    path.write_bytes(b"")


def cut_in_part(folder, path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)


def add(folder, path):
    with path.open("ab") as file:
        file.write(b"somebody's\n")


def remove_the_lock(folder, path):
    (folder / f"{WRITER}.lock").unlink()


WHOLE = (
    replace_by_a_copy,
    replace_by_a_link,
    replace_the_directory_by_a_copy,
    add,
    remove_the_lock,
)
"""After these everything that was written is still there."""
DEEDS = (
    *(
        remove,
        move,
        move_inside,
        replace,
        remove_the_directory,
        move_the_directory,
        replace_the_directory,
        cut,
        cut_in_part,
    ),
    *WHOLE,
)


def names(folder):
    return [row["unmapped"]["event"] for row in rows(folder, Query(own=True), lambda *_: None)]


def uids(folder):
    return {
        row["metadata"].get("correlation_uid") for row in rows(folder, Query(), lambda *_: None)
    }


@pytest.fixture
def log(tmp_path):
    """A sink that has written a record, and holds its name."""
    folder = tmp_path / "log"
    folder.mkdir()
    with locked(folder, WRITER) as lock:
        made = sink(folder)
        made.hold = lock.hold
        made.append([entry(1)])
        yield made


def strike(deed, log):
    deed(log.directory, log.directory / name_of(WRITER, log.number))


@pytest.mark.parametrize("deed", DEEDS)
def test_what_is_written_next_stands_in_a_file_of_its_name_and_says_what_happened(deed, log):
    strike(deed, log)
    with structlog.testing.capture_logs() as said:
        log.append([entry(2), entry(3)])
    assert [line["log_level"] for line in said] == ["error"]
    assert {"call-2", "call-3"} <= uids(log.directory)
    assert names(log.directory)[-4:] == [
        "LOG_OPENED",
        "SEGMENT_DISPLACED",
        "READ_ENDED",
        "READ_ENDED",
    ]
    log.append([entry(4)])
    log.close()
    assert [each.number for each in segments(log.directory)[WRITER]][-1] == 2
    (verdict,) = verify(log.directory, KEYS)
    if deed in WHOLE:
        assert verdict.bad is None, str(verdict.bad)
        assert any("record 4 says that segment 1" in note for note in verdict.notes), verdict.notes
    else:
        assert verdict.bad is not None
    # The next process goes on, and adds nothing that does not fit.
    again = sink(log.directory)
    again.append([entry(5)])
    again.close()
    (later,) = verify(log.directory, KEYS)
    assert str(later.bad) == str(verdict.bad)


@pytest.mark.parametrize("deed", [move, move_the_directory])
def test_what_is_put_back_makes_the_log_whole_again(deed, log):
    strike(deed, log)
    log.append([entry(2)])
    log.close()
    (moved,) = [
        *log.directory.parent.glob("elsewhere*"),
        *log.directory.parent.glob("old-log/*.jsonl"),
    ]
    moved.rename(log.directory / name_of(WRITER, 1))
    (verdict,) = verify(log.directory, KEYS)
    assert (verdict.bad, verdict.records) == (None, 6)
    assert any("segment 1 was moved while it was written to" in note for note in verdict.notes)


@pytest.mark.parametrize("deed", [remove, move, remove_the_directory, move_the_directory, replace])
@pytest.mark.parametrize("moment", ["write", "sync"])
def test_a_batch_whose_file_goes_while_it_is_written_counts_in_the_next_file(
    deed, moment, log, monkeypatch
):
    strikes = [lambda: strike(deed, log)]
    real = getattr(Broken().opener(log.directory / "x", new=True).__class__.__mro__[1], moment)

    def struck(disk, *arguments):
        real(disk, *arguments)
        if strikes:
            strikes.pop()()

    monkeypatch.setattr(f"gateway.audit.segments.Disk.{moment}", struck)
    log.append([entry(2)])
    assert uids(log.directory) >= {"call-2"}
    assert "SEGMENT_DISPLACED" in names(log.directory)
    log.close()


def test_a_file_that_goes_whenever_it_is_written_to_is_no_log(log, monkeypatch):
    monkeypatch.setattr("gateway.audit.segments.Disk.sync", lambda disk: disk._path.unlink())
    with pytest.raises(OSError, match="taken away"):
        log.append([entry(2)])
    monkeypatch.undo()
    log.append([entry(3)])
    log.close()
    assert names(log.directory).count("SEGMENT_DISPLACED") == 3
    assert uids(log.directory) == {"call-3"}


def test_a_name_that_another_process_took_meanwhile_is_not_written_under(log):
    strike(remove_the_lock, log)
    with locked(log.directory, WRITER):
        other = sink(log.directory)
        other.append([entry(7)])
        with pytest.raises(OSError, match="another process writes as"):
            log.append([entry(2)])
        other.close()
    # It went on where this one had been: this one never may again.
    with pytest.raises(FileExistsError):
        log.append([entry(3)])
    (verdict,) = verify(log.directory, KEYS)
    assert verdict.bad is None


def test_an_idle_log_notices_too(log):
    log.checkpoint()
    assert log.checkpoint() is None
    strike(remove, log)
    assert log.checkpoint() is not None
    assert names(log.directory) == ["LOG_OPENED", "SEGMENT_DISPLACED", "CHECKPOINT"]


def test_open_changes_are_carried_over(log):
    log.append([entry(opens="a")])
    strike(remove, log)
    log.append([entry(2)])
    assert [each.uid for each in position(log.directory, WRITER, KEYS, None).open] == ["a"]


def test_retention_that_is_recorded_after_it_still_verifies(log):
    strike(add, log)
    log.append([Entry(own_record(events.LOG_CLOSED))])
    log.close()
    assert verify(log.directory, KEYS)[0].bad is None


@pytest.mark.parametrize("deed", [remove, remove_the_directory])
async def test_a_gateway_goes_on_and_every_change_is_on_record(deed, tmp_path):
    folder = tmp_path / "log"
    async with audited_gateway(tmp_path, sections={}) as world:
        await caller(world).ok("VaultService/CreateVault", vault_request("first"))
        await until(lambda: "CHANGE_ENDED" in names(folder))
        with structlog.testing.capture_logs() as said:
            (path,) = folder.glob("*.jsonl")
            deed(folder, path)
            await asyncio.gather(
                *(
                    caller(world).ok("VaultService/CreateVault", vault_request(f"n-{n}"))
                    for n in range(5)
                )
            )
            await until(lambda: names(folder).count("CHANGE_ENDED") >= 5)
        assert len([line for line in said if "not what it was" in line["event"]]) == 1
    found = names(folder)
    assert (found.count("CHANGE_INTENDED"), found.count("SEGMENT_DISPLACED")) == (5, 1)
    assert found.count("CHANGE_ENDED") >= 5
