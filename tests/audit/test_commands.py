"""`cbr-gateway audit`: what a person sees of a log."""

import asyncio
import json
import time

import pytest
from click.testing import CliRunner

from gateway.audit import events
from gateway.audit.anchors import AnchorFile
from gateway.audit.events import own_record
from gateway.audit.opening import open_audit
from gateway.audit.query import Query, follow
from gateway.audit.segments import name_of
from gateway.audit.settings import AuditSettings
from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.state import StoreSettings, open_store
from tests.audit.logs import WRITER, entry, pack, sink
from tests.audit.scenes import audit_section
from tests.unit.test_cli import ENVIRON, EXAMPLE


@pytest.fixture
def log(tmp_path):
    """A log of ten records and its anchor."""
    folder = tmp_path / "log"
    folder.mkdir()
    (tmp_path / "key").write_text("a-key-for-tests-with-enough-characters\n")
    written = sink(folder)
    written.append([entry(number) for number in range(8)])
    AnchorFile(tmp_path / "anchors").add(written.checkpoint())
    written.close()
    return folder


def run(*arguments):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


def checked(log, *more):
    return run("verify", log, "--key-file", log.parent / "key", *more)


def test_a_good_log_is_called_good(log):
    done = checked(log, "--anchors", log.parent / "anchors")
    assert (done.exit_code, done.output) == (0, "here: good, 11 records, the last is 11\n")
    assert "give --anchors" in checked(log).output


def test_the_first_bad_record_is_named(log):
    path = log / name_of(WRITER, 1)
    path.write_bytes(path.read_bytes().replace(b"call-4", b"call-5", 1))
    done = checked(log)
    assert done.exit_code == 1
    assert (
        "here: BAD  here.00000001.jsonl:6: record 6 was changed, or written with another key"
        in done.output
    )


def test_a_cut_end_is_found_by_the_anchor(log):
    path = log / name_of(WRITER, 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:7]))
    done = checked(log, "--anchors", log.parent / "anchors")
    assert done.exit_code == 1
    assert "record 8 and all after it are missing: record 10 was anchored" in done.output


def test_one_log_of_many_is_verified_by_name(log):
    assert checked(log, "--writer", "here").exit_code == 0
    nobody = checked(log, "--writer", "nobody")
    assert (nobody.exit_code, "holds no such log" in nobody.output) == (1, True)
    (log.parent / "key").write_bytes(bytes(range(128, 200)))
    assert (
        "is not UTF-8 text. Put the secret alone into it. Name the file that audit.key names"
        in checked(log).output
    )


def test_a_directory_without_a_log_is_no_good_log(tmp_path):
    (tmp_path / "key").write_text("k")
    done = run("verify", tmp_path, "--key-file", tmp_path / "key")
    assert done.exit_code == 1
    assert "holds no log" in done.output


def test_the_last_records_are_shown(log):
    shown = run("tail", log, "-n", 2).output.splitlines()
    assert [line.split()[-1] for line in shown] == ["call-6", "call-7"]
    assert "READ_ENDED" in shown[0]
    assert run("tail", log, "-n", 0).output == ""


def test_the_last_records_of_many_segments_and_writers_are_the_latest(tmp_path):
    first, second = sink(tmp_path, max_bytes=1), sink(tmp_path, writer="there")
    for number in range(6):
        (first if number % 3 else second).append([entry(number)])
        time.sleep(0.002)
    assert [line.split()[-1] for line in run("tail", tmp_path, "-n", 4).output.splitlines()] == [
        "call-2",
        "call-3",
        "call-4",
        "call-5",
    ]
    assert len(run("tail", tmp_path, "-n", 50).output.splitlines()) == 6


def test_what_is_written_from_now_on_is_followed_into_new_segments(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    log.append([entry(0)])
    log.append([entry(1)])
    todo = iter(([entry(2)], [entry(3), entry(4)], [entry(5)]))
    news = follow(tmp_path, Query(), pause=lambda _seconds: log.append(next(todo)))
    assert [next(news)["metadata"]["correlation_uid"] for _ in range(4)] == [
        "call-2",
        "call-3",
        "call-4",
        "call-5",
    ]


def test_lines_of_somebody_else_are_passed_over(log):
    path = log / name_of(WRITER, 1)
    path.write_bytes(
        path.read_bytes() + b'{"metadata":{"event_code":"x"},"api":{},"unmapped":{"stage":"x"}}\n'
    )
    assert len(run("query", log).output.splitlines()) == 8


def test_a_damaged_segment_is_named_and_the_others_are_shown(tmp_path):
    log = sink(tmp_path, max_bytes=1)
    for number in range(3):
        log.append([entry(number)])
    packed = pack(tmp_path / name_of(WRITER, 1), cut=20)
    for command in ("query", "tail"):
        done = run(command, tmp_path)
        assert [line.split()[-1] for line in done.stdout.splitlines()] == ["call-1", "call-2"]
        assert done.stderr.count(f"{packed} cannot be read: it was cut short or changed") == 1
        assert done.exit_code == 1


def test_the_anchors_of_the_store_are_shown_for_verification(tmp_path, monkeypatch):
    for name, value in (ENVIRON | {"CBR_GATEWAY_STATE__PATH": str(tmp_path / "state.db")}).items():
        monkeypatch.setenv(name, value)
    nothing = run("anchors", "--config", EXAMPLE)
    assert nothing.exit_code == 1
    assert "there is no store at state.path" in nothing.output
    assert not (tmp_path / "state.db").exists()

    async def audit():
        settings = AuditSettings.model_validate(audit_section(tmp_path))
        async with (
            open_store(StoreSettings(path=tmp_path / "state.db"), SystemClock()) as store,
            open_audit(settings, store.anchors) as log,
        ):
            log._own(own_record(events.CLOCK_STEPPED_BACK, back_ms=1))
            # While the gateway runs, its file is its own.
            return await asyncio.to_thread(run, "anchors", "--config", EXAMPLE)

    assert (
        "A store in a file can be read while its gateway does not run"
        in asyncio.run(audit()).output
    )
    shown = run("anchors", "--config", EXAMPLE)
    assert shown.exit_code == 0
    (tmp_path / "from-store").write_text(shown.output)
    done = run(
        "verify",
        tmp_path / "log",
        "--key-file",
        tmp_path / "audit.key",
        "--anchors",
        tmp_path / "from-store",
    )
    assert (done.exit_code, done.output.splitlines()) == (
        0,
        ["one: good, 3 records, the last is 3"],
    )
    monkeypatch.setenv("CBR_GATEWAY_STATE__PATH", "5")
    monkeypatch.delenv("ACME_SECRET_KEY")
    assert "upstream.credentials.acme.secret_key" in run("anchors", "--config", EXAMPLE).output


def test_a_search_narrows(log):
    assert len(run("query", log).output.splitlines()) == 8
    assert len(run("query", log, "--own").output.splitlines()) == 11
    found = run(
        "query",
        log,
        "--call",
        "call-3",
        "--tenant",
        "payments",
        "--operation",
        "getvault",
        "--since",
        "1h",
        "--json",
    )
    assert json.loads(found.output)["metadata"]["correlation_uid"] == "call-3"
    for nothing in (
        ("--tenant", "x"),
        ("--operation", "Delete"),
        ("--resource", "x"),
        ("--since", "2999-01-01T00:00Z"),
    ):
        assert run("query", log, *nothing).stdout == ""
    wrong = run("query", log, "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "is no time" in wrong.output


def test_the_schema_is_printed():
    assert json.loads(run("schema").output)["$schema"].startswith("https://json-schema.org/")


def test_a_name_cannot_play_with_the_terminal(tmp_path):
    from gateway.audit.query import as_text  # noqa: PLC0415

    row = {
        "time": 0,
        "metadata": {"tenant_uid": "t"},
        "actor": {"user": {"name": "a\x1b[2Jb"}},
        "api": {"operation": "S/R"},
        "resources": [{"type": "vault", "uid": "x\ny"}],
        "unmapped": {"event": "E"},
    }
    assert as_text(row).isprintable()


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ({"type": "backup", "count": 0, "unknown": True}, "an unknown number of backups"),
        ({"type": "policy", "count": 0, "unknown": True}, "an unknown number of policies"),
        ({"type": "policy", "count": 2}, "2 policies"),
        ({"type": "policy", "count": 1}, "1 policy"),
        ({"type": "vault", "count": 1}, "1 vault"),
    ],
)
def test_what_is_lost_is_told_alike_in_the_log_and_in_the_console(loss, told):
    from gateway.audit.query import as_text  # noqa: PLC0415
    from gateway.console.audit_page import _record  # noqa: PLC0415

    row = {
        "time": 0,
        "metadata": {},
        "actor": {},
        "api": {"operation": "S/R"},
        "unmapped": {"event": "CHANGE_ENDED", "losses": [loss]},
    }
    assert as_text(row).endswith(f" with {told}")
    assert f"with {told}" in {cell.text for cell in _record(row)}


@pytest.mark.parametrize(
    "option",
    ["--tenant", "--operation", "--principal", "--outcome", "--resource", "--call", "--since"],
)
def test_an_empty_filter_is_refused(log, option):
    for command in ("query", "tail"):
        done = run(command, log, option, "")
        assert (done.exit_code, option in done.stderr, done.stdout) == (2, True, "")


def test_a_search_that_finds_nothing_says_so(log, tmp_path):
    done = run("query", log, "--tenant", "nobody")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "no record matches (11 read)\n"
    backwards = run("query", log, "--since", "1h", "--until", "2h")
    assert (backwards.exit_code, "not before --until" in backwards.stderr) == (2, True)
    (empty := tmp_path / "empty").mkdir()
    for command in ("query", "tail"):
        done = run(command, empty)
        assert (done.exit_code, "holds no log" in done.stderr) == (1, True)
