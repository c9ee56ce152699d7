"""`cbr-gateway check`: whatever a start refuses here and now it refuses, too, in the same words.

It changes nothing.
"""

import asyncio
import contextlib
import fcntl
import re
import socket
import sqlite3
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gateway.audit.anchors import line_of, signed
from gateway.audit.chain import Head, Keys
from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.state import StoreSettings, open_store
from testkit.ports import free_port
from tests.audit.logs import entry, sink

EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "config" / "example.yaml").read_text())
SECRET = "a-key-for-tests-with-enough-characters"
ENVIRON = {
    "ACME_ACCESS_KEY": "access",
    "ACME_SECRET_KEY": "secret",
    "GLOBEX_PASSWORD": "password",
    "AUDIT_KEY": SECRET,
}
HERE = "here-1"
"""As the first of several workers is named."""


def configuration(folder, **sections):
    """With listeners at ports that are free, unless they are given."""
    listen = {"listen": "127.0.0.1:0", "health_listen": "127.0.0.1:0"}
    server = listen | sections.pop("server", {})
    file = folder / "gateway.yaml"
    known = {"server": server, "admin": {"listen": "127.0.0.1:0"}, "watch": {"follow": "watched"}}
    file.write_text(yaml.safe_dump(EXAMPLE | known | sections))
    return str(file)


def told(command, file, *flags):
    ran = CliRunner().invoke(main, [command, "--config", file, *flags], env=ENVIRON)
    return ran.exit_code, ran.stderr, ran.stdout


def tree(folder):
    """All files, and what is in them."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def state(path):
    return {"state": {"path": str(path)}}


def audit(folder, **more):
    settings = {"directory": str(folder / "log"), "key": {"env": "AUDIT_KEY"}, "writer": HERE}
    return {"audit": settings | more}


def written(folder, count=3):
    """A log with some records."""
    (folder / "log").mkdir(exist_ok=True)
    log = sink(folder / "log", writer=HERE)
    log.append([entry(number) for number in range(count)])
    log.close()
    return next((folder / "log").glob("*.jsonl"))


def nowhere(folder):
    return state(folder / "nowhere" / "state.db")


def below_a_file(folder):
    (folder / "file").write_text("")
    return state(folder / "file" / "state.db")


def a_directory(folder):
    (folder / "state.db").mkdir()
    return state(folder / "state.db")


def no_database(folder):
    (folder / "state.db").write_bytes(b"not a database at all" * 100)
    return state(folder / "state.db")


def of_a_later_version(folder):
    with contextlib.closing(sqlite3.connect(folder / "state.db")) as db:
        db.execute("PRAGMA user_version = 99")
    return state(folder / "state.db")


def no_directory(folder):
    (folder / "log").write_text("")
    return audit(folder)


def below_no_directory(folder):
    (folder / "file").write_text("")
    return audit(folder, directory=str(folder / "file" / "deep" / "log"))


def changed(folder):
    segment = written(folder)
    segment.write_bytes(segment.read_bytes().replace(b"call-1", b"call-9"))
    return audit(folder)


def unreadable_segment(folder):
    segment = written(folder)
    segment.unlink()
    segment.mkdir()
    return audit(folder)


def unreadable_anchors(folder):
    (folder / "anchors").mkdir()
    return audit(folder, anchors=str(folder / "anchors"))


def missing_records(folder):
    written(folder)
    anchor = signed(Keys.of(SECRET), HERE, 1, Head(9, bytes(32)))
    (folder / "anchors").write_bytes(line_of(anchor))
    return audit(folder, anchors=str(folder / "anchors"))


def missing_records_of_the_store(folder):
    written(folder)
    anchor = signed(Keys.of(SECRET), HERE, 1, Head(9, bytes(32)))

    async def put():
        async with open_store(StoreSettings(path=folder / "state.db"), SystemClock()) as store:
            await store.anchors.put(HERE, line_of(anchor))

    asyncio.run(put())
    return audit(folder) | state(folder / "state.db")


def another_machines(folder):
    return {"server": {"listen": f"192.0.2.1:{free_port()}"}}


def another_machines_http(folder):
    return {"http": {"listen": f"192.0.2.1:{free_port()}"}}


def another_machines_health(folder):
    return {"server": {"health_listen": f"192.0.2.1:{free_port()}"}}


def another_machines_admin(folder):
    return {"admin": {"listen": f"192.0.2.1:{free_port()}"}}


REFUSED = [
    nowhere,
    below_a_file,
    a_directory,
    no_database,
    of_a_later_version,
    no_directory,
    below_no_directory,
    changed,
    unreadable_segment,
    unreadable_anchors,
    missing_records,
    missing_records_of_the_store,
    another_machines,
    another_machines_http,
    another_machines_health,
    another_machines_admin,
]


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda each: each.__name__)
def test_what_a_start_refuses_is_refused_in_the_same_words(tmp_path, wrong):
    file = configuration(tmp_path, **wrong(tmp_path))
    before = tree(tmp_path)
    refused = told("check", file)
    assert tree(tmp_path) == before
    assert refused == told("serve", file)
    assert refused[0] == 1
    assert refused[1].startswith("Error: ")


WORKERS = {"server": {"workers": 2}}


@pytest.mark.parametrize("wrong", [nowhere, changed], ids=lambda each: each.__name__)
def test_what_a_start_with_workers_refuses_is_refused_in_the_same_words(tmp_path, wrong):
    sections = wrong(tmp_path)
    if wrong is changed:
        sections["audit"]["writer"] = HERE.removesuffix("-1")
    file = configuration(tmp_path, **sections, **WORKERS)
    before = tree(tmp_path)
    refused = told("check", file)
    assert tree(tmp_path) == before
    assert refused == told("serve", file)
    assert refused[0] == 1


@pytest.mark.parametrize("folder", ["nowhere", "long" * 40])
def test_workers_need_a_folder_of_their_own(tmp_path, folder, monkeypatch):
    if folder != "nowhere":
        (tmp_path / folder).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / folder))
    file = configuration(tmp_path, **WORKERS)
    ends = [told(command, file) for command in ("check", "serve")]
    # Each has another name in it.
    refused, by_serve = ((code, re.sub(r"cbr-gateway-\w+", "", said)) for code, said, _ in ends)
    assert refused == by_serve
    assert refused[0] == 1
    assert "TMPDIR" in refused[1]


def test_workers_on_a_valkey_need_no_folder(tmp_path, monkeypatch):
    """Such as in a pod with a read-only root file system."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    (tmp_path / "url").write_text("redis://127.0.0.1:1")
    (tmp_path / "url").chmod(0o600)
    state = {"kind": "valkey", "url": {"file": str(tmp_path / "url")}}
    file = configuration(tmp_path, state=state, **WORKERS)
    assert told("check", file)[0] == 0


@contextlib.contextmanager
def port_taken(folder, section, key):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield {section: {key: f"127.0.0.1:{taken.getsockname()[1]}"}}


@contextlib.contextmanager
def store_held(folder):
    with contextlib.closing(sqlite3.connect(folder / "state.db")) as db:
        db.executescript("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;")
        db.execute("BEGIN IMMEDIATE")
        yield state(folder / "state.db")


@contextlib.contextmanager
def name_held(folder):
    (folder / "log").mkdir()
    with (folder / "log" / f"{HERE}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield audit(folder)


HELD = {
    "listen": lambda folder: port_taken(folder, "server", "listen"),
    "health": lambda folder: port_taken(folder, "server", "health_listen"),
    "admin": lambda folder: port_taken(folder, "admin", "listen"),
    "http": lambda folder: port_taken(folder, "http", "listen"),
    "store": store_held,
    "audit": name_held,
}


@pytest.mark.parametrize("what", HELD)
def test_what_another_process_has_is_told_and_refused_where_that_is_asked_for(tmp_path, what):
    with HELD[what](tmp_path) as sections:
        file = configuration(tmp_path, **sections)
        code, said, ok = told("check", file)
        assert (code, ok[:3]) == (0, "OK:")
        refused = told("check", file, "--start")
        assert (refused[0], refused[1]) == told("serve", file)[:2]
        assert refused[0] == 1
        assert said == refused[1].replace("Error:", "In use now:")


def test_all_is_told_at_once(tmp_path):
    sections = no_directory(tmp_path) | nowhere(tmp_path) | another_machines(tmp_path)
    _, said, _ = told("check", configuration(tmp_path, **sections))
    assert [word in said for word in ("audit.directory", "state.path", "192.0.2.1")] == [True] * 3


def test_a_check_beside_a_log_that_a_crash_cut_short_leaves_it_as_it_is(tmp_path):
    segment = written(tmp_path)
    with segment.open("ab") as log:
        log.write(b'{"cut')
    file = configuration(tmp_path, **audit(tmp_path))
    before = tree(tmp_path)
    code, _, _ = told("check", file)
    assert (code, tree(tmp_path)) == (0, before)


def test_a_state_file_of_an_older_version_is_not_brought_up_to_date(tmp_path):
    path = tmp_path / "state.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE something (key TEXT)")
    content = path.read_bytes()
    code, said, _ = told("check", configuration(tmp_path, **state(path)))
    assert (code, said, path.read_bytes()) == (0, "", content)
    assert {file.name for file in tmp_path.iterdir()} == {"gateway.yaml", "state.db"}
