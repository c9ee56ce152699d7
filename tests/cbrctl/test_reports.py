"""What reports leave out is said, and nobody takes a part for the whole."""

import json

import httpx
import pytest


@pytest.fixture
def denied(dev):
    """The cloud does not let the gateway read vaults."""
    faults = f"{dev.emulator}/_emulator/faults"
    fault = {"kind": "status", "status": 403, "match": {"operation": "ListVault"}, "times": None}
    httpx.post(faults, json=fault).raise_for_status()
    yield
    httpx.delete(faults).raise_for_status()


@pytest.mark.parametrize(
    "command",
    [
        ["protections", "list-unprotected-resources"],
        ["protections", "list-unprotected-resources", "--limit", "1"],
        ["protections", "list-unprotected-resources", "-o", "json"],
        ["protections", "stream-unprotected-resources"],
        ["protections", "get-summary"],
        ["protections", "generate-report", "-o", "json"],
        ["protections", "generate-report", "--format", "csv"],
    ],
    ids=lambda command: " ".join(command[1:]),
)
def test_what_is_left_out_is_said_and_ends_with_3(ctl, denied, command):
    ended = ctl(*command)
    assert ended.exit_code == 3
    assert ended.stdout
    assert "vaults not read: " in ended.stderr
    assert ended.stderr.count("vaults not read: ") == 1
    assert "Not everything could be read" in ended.stderr


@pytest.mark.parametrize("name", ["unprotected", "summary"])
def test_tags_that_no_resource_has_are_said(ctl, name):
    ended = ctl("report", name, "--tags", "evn=prod")
    assert ended.exit_code == 0, ended.stderr
    assert "resources that were read has the tags asked for" in ended.stderr
    assert "tags asked for" not in ctl("report", name).stderr


def test_a_report_is_shown_in_the_form_that_was_asked_for(ok):
    lines = ok("protections", "generate-report", "--format", "csv").splitlines()
    assert "proven" in lines[0].split(",")
    for line in ok("protections", "generate-report", "--format", "json").splitlines():
        assert "proven" in json.loads(line)


def test_reports_have_short_names(ok):
    assert ok("report", "protection").startswith(ok("protections", "generate-report")[:10])
    assert "CAUSES" in ok("report", "unprotected").splitlines()[0]
    for name in ("summary", "expiring"):
        ok("report", name, "-o", "json")


def test_tables_of_reports_show_what_people_ask(ok):
    shown = ok("protections", "list-unprotected-resources").splitlines()
    assert "CAUSES" in shown[0]
    assert any("no_vault" in line for line in shown[1:])
    assert "RESOURCES" in ok("protections", "get-summary", "--max-age", "2d").splitlines()[0]
    assert ok("report", "protection").split()[:2] == ["RESOURCE_NAME", "PROVEN"]


def test_a_summary_shows_its_groups_and_their_sum(ok):
    whole = json.loads(ok("protections", "get-summary", "-o", "json"))
    assert len(whole["groups"]) > 1
    *rows, total = ok("protections", "get-summary", "-o", "csv").splitlines()[1:]
    assert len(rows) == len(whole["groups"])
    assert total.startswith(",,,,")
    assert f",{whole['total']['resources']}," in total


def test_unprotected_resources_are_rows_of_the_stream_too(ok):
    listed = ok("protections", "list-unprotected-resources", "-o", "csv").splitlines()
    streamed = ok("protections", "stream-unprotected-resources", "-o", "csv").splitlines()
    assert sorted(streamed) == sorted(listed)
