"""Lines that are not ours among segments and anchors: never a traceback, and no start is stopped by
anchors that are not ours.
"""

import asyncio
import contextlib
import gzip
import io
import json
import os
import tracemalloc

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audit import events
from gateway.audit.anchors import AnchorFile, backwards, line_of
from gateway.audit.lock import Unusable
from gateway.audit.opening import open_audit
from gateway.audit.segments import name_of
from gateway.audit.settings import AuditSettings
from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.state import StoreSettings, open_store
from tests.audit.logs import entry, sink
from tests.audit.scenes import KEYS, audit_section
from tests.audit.test_opening import read

WRITER = "one"
DEEP = b'{"a":' * 50_000
QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "é", "\x1b[2J", "a\nb"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A log with two segments and its anchor."""
    folder = tmp_path_factory.mktemp("audit")
    log = folder / "log"
    log.mkdir()
    written = sink(log, writer=WRITER, max_bytes=1500)
    written.keys = KEYS
    written.append([entry(0), entry(1)])
    written.append([entry(2)])
    anchor = written.checkpoint()
    written.close()
    return folder, anchor


@pytest.fixture
def copy(made, tmp_path):
    """The same for one test, with the anchor."""
    folder, anchor = made
    (tmp_path / "log").mkdir()
    for path in (folder / "log").iterdir():
        (tmp_path / "log" / path.name).write_bytes(path.read_bytes())
    return tmp_path, anchor


def run(*arguments):
    """The output of `cbr-gateway audit …`, which ends in order."""
    done = CliRunner().invoke(main, ["audit", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def opened(folder, store_lines=()):
    """Starts and ends a log, with these lines where the store keeps anchors."""

    async def start():
        async with open_store(StoreSettings(path=folder / "state.db"), SystemClock()) as store:
            for number, line in enumerate(store_lines):
                await store.anchors.put(f"writer-{number}", line)
            async with open_audit(
                AuditSettings.model_validate(audit_section(folder)), store.anchors
            ) as audit:
                audit.ended(events.READ_ENDED, read())

    asyncio.run(start())


def changed(anchor, **members):
    return json.dumps(json.loads(line_of(anchor)) | members).encode()


KINDS = {
    "a signature that is not ASCII": (
        lambda a: changed(a, signature="é").replace(b"\\u00e9", "é".encode())
    ),
    "an escaped signature": lambda a: changed(a, signature="é"),
    "a signature that is no UTF-8": (
        lambda a: changed(a, signature="SIGN").replace(b"SIGN", b"\xff\xfe")
    ),
    "deep values": lambda a: changed(a)[:-1] + b',"more":' + DEEP + b"1" + b"}" * 50_001,
    "deep and cut short": lambda _: DEEP,
    "half a pair": lambda a: changed(a, writer="W").replace(b'"W"', b'"\\ud800"'),
    "a huge number": (
        lambda a: changed(a, sequence=0).replace(b'"sequence": 0', b'"sequence": ' + b"9" * 5000)
    ),
    "a number below nothing": lambda a: changed(a, sequence=-5),
    "another's writer": lambda a: changed(a, writer="\x1b[2J"),
    "no object": lambda _: b"[]",
    "no JSON": lambda _: b"\x00\x01 not json",
    "a cut line": lambda a: line_of(a)[:40],
    "nothing": lambda _: b"",
    "one signed with another key": lambda a: changed(a, signature="0" * 64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_lines_among_anchors_end_in_no_traceback_and_stop_no_start(kind, copy):
    folder, anchor = copy
    foreign = KINDS[kind](anchor)
    (folder / "anchors").write_bytes(foreign + b"\n" + line_of(anchor) + foreign + b"\n")
    (folder / "key").write_text("x")
    opened(folder, [foreign])
    done = run(
        "verify",
        folder / "log",
        "--key-file",
        folder / "audit.key",
        "--anchors",
        folder / "anchors",
    )
    assert "one: " in done.output
    # A line that is an anchor and was not signed with the key stays a finding.
    signed_by_nobody = kind in {"an escaped signature", "one signed with another key"}
    assert done.exit_code == signed_by_nobody
    assert ("not signed with this key" in done.output) == signed_by_nobody


@given(
    st.dictionaries(
        st.sampled_from(["writer", "segment", "sequence", "mac", "time", "signature", "more"]),
        values,
    ),
    st.binary(max_size=40),
)
@QUICK
def test_whatever_stands_among_anchors_is_read_to_its_end(made, members, noise):
    folder, anchor = made
    lines = folder / "anchors-of-somebody"
    lines.write_bytes(changed(anchor, **members) + b"\n" + noise + b"\n" + line_of(anchor))
    assert anchor in AnchorFile(lines).last(KEYS, [WRITER])
    (folder / "key").write_text("a-secret-for-the-audit-log-of-a-test")
    assert (
        "one: "
        in run("verify", folder / "log", "--key-file", folder / "key", "--anchors", lines).output
    )


@given(st.lists(st.binary(max_size=30), max_size=12), st.integers(1, 9), st.sampled_from([5, 1000]))
def test_lines_are_read_backwards_whatever_they_hold(lines, block, longest):
    data = b"\n".join(lines)
    read = [each for each in backwards(io.BytesIO(data), block, longest) if each]
    every = [each for each in reversed(data.split(b"\n")) if each]
    assert [each for each in read if len(each) <= longest] == [
        each for each in every if len(each) <= longest
    ]
    assert all(each in every for each in read)


def test_anchors_of_years_and_endless_lines_take_little_memory(copy):
    """Point 19: 64 MiB without a line feed between two anchors."""
    folder, anchor = copy
    path = folder / "anchors"
    path.write_bytes(changed(anchor, writer="another") + b"\n")
    with path.open("ab") as file:
        file.truncate(64 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + line_of(anchor))
    tracemalloc.start()
    try:
        assert AnchorFile(path).last(KEYS, [WRITER]) == [anchor]
        assert AnchorFile(path).last(KEYS, ["nobody"]) == []
        assert anchor in AnchorFile(path).read()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def line(members):
    """A record with other members, as nobody has sealed it."""
    body = {
        "time": 1,
        "metadata": {"event_code": "c"},
        "actor": {},
        "api": {"operation": "o"},
        "unmapped": {"stage": "OUTCOME", "event": "e"},
    }
    return json.dumps(body | members).encode()


PARTS = ["time", "metadata", "actor", "api", "unmapped", "resources", "status_code", "more"]
lines = st.dictionaries(
    st.sampled_from(PARTS),
    values
    | st.dictionaries(st.sampled_from(["user", "response", "event", "uid", "segment"]), values),
).map(line) | st.binary(max_size=60).map(lambda noise: noise.replace(b"\n", b""))


@given(lines, st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 2)))
@QUICK
def test_whatever_stands_in_a_segment_is_read_to_its_end(made, tmp_path_factory, foreign, where):
    (folder, _), (packed, at, number) = made, where
    spoilt = tmp_path_factory.mktemp("spoilt")
    (spoilt / "log").mkdir()
    for path in (folder / "log").iterdir():
        data = path.read_bytes()
        target = spoilt / "log" / path.name
        if path.name == name_of(WRITER, number):
            found = data.splitlines(keepends=True)
            data = b"".join([*found[:at], foreign + b"\n", *found[at:]])
            if packed:
                data, target = gzip.compress(data), target.with_name(f"{path.name}.gz")
        target.write_bytes(data)
    section = audit_section(spoilt)
    assert run("verify", spoilt / "log", "--key-file", section["key"]["file"]).exit_code == 1
    for arguments in (
        ["query", spoilt / "log", "--own"],
        ["query", spoilt / "log", "--json", "--resource", "x"],
        ["tail", spoilt / "log"],
    ):
        assert run(*arguments).exit_code == 0
    with contextlib.suppress(Unusable):
        opened(spoilt)


@pytest.mark.parametrize(
    "foreign",
    [
        DEEP,
        line({"more": 1})[:-1] + b',"x":' + b"[" * 50_000,
        line({"time": 10**300}),
        b"\xff" * 10,
    ],
)
def test_deep_and_huge_lines_in_a_segment_are_passed_over_by_readers(foreign, copy):
    folder, _ = copy
    path = folder / "log" / name_of(WRITER, 2)
    path.write_bytes(path.read_bytes() + foreign + b"\n")
    shown = run("query", folder / "log", "--json")
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) == 3
    audit_section(folder)
    assert run("verify", folder / "log", "--key-file", folder / "audit.key").exit_code == 1


def test_a_name_that_leads_nowhere_is_told_and_not_waited_for(copy):
    folder, _ = copy
    (folder / "log" / name_of("lost", 1)).symlink_to(folder / "nowhere")
    audit_section(folder)
    done = run("verify", folder / "log", "--key-file", folder / "audit.key")
    assert (done.exit_code, "cannot be read: No such file" in done.output) == (1, True)
    opened(folder)
