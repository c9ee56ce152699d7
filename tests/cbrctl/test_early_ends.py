"""A list that ends early: what was read is shown, and then what is missing, at whatever place."""

import json

import pytest
import yaml
from click.testing import CliRunner

from cbrctl.failures import Failed, Refusal
from cbrctl.index import Column
from cbrctl.main import main
from cbrctl.output import Look, show_list

FORMS = ("table", "wide", "csv", "name", "json", "yaml", "jsonl")
PROBLEMS = [{"list": "vaults", "message": "no answer"}, {"list": "backups", "message": "no answer"}]
NOT_READ = {"project": "p2", "region": "r", "problems": PROBLEMS}


class Scripted:
    """A transport with two pages, or messages; `last` is the end of them if it fails."""

    def __init__(self, rows, last=None, **beside):
        self.rows, self.last, self.beside = rows, last, beside

    def call(self, rpc, request):
        if rpc == "AccessService/GetCaller":
            return {"projects": [{"project": "p1"}, {"project": "p2"}]}
        if not request["page_token"]:
            found = [{"id": f"id-{n}", "name": f"name-{n}"} for n in range(2)]
            return {self.rows: found, "next_page_token": "2"} | self.beside
        if self.last:
            raise self.last
        return {self.rows: [{"id": "id-2", "name": "name-2"}], "next_page_token": ""}

    def stream(self, rpc, request):
        yield {self.rows: [{"name": "name-0"}, {"name": "name-1"}]}
        if self.last:
            raise self.last
        yield {self.rows: [{"name": "name-2"}]}
        yield {self.rows: [], **self.beside}

    def close(self):
        pass


@pytest.fixture
def listed(monkeypatch):
    """A command whose calls are answered by the transport."""

    def run(transport, *arguments):
        monkeypatch.setattr("cbrctl.run.connect", lambda *_: transport)
        return CliRunner().invoke(main, arguments, prog_name="cbrctl")

    return run


UNPROTECTED = ("report", "unprotected")
STREAMED = ("protections", "stream-unprotected-resources")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", [UNPROTECTED, STREAMED], ids=lambda each: each[-1])
def test_all_rows_are_shown_and_then_what_was_not_read(listed, command, form):
    beside = {"coverage": [NOT_READ] if command == UNPROTECTED else NOT_READ}
    ended = listed(Scripted("resources", **beside), *command, "-o", form)
    assert ended.exit_code == 3
    for name in ("name-0", "name-1", "name-2"):
        assert name in ended.stdout
    assert ended.stderr.splitlines() == [
        "p2 (r): vaults not read: no answer",
        "p2 (r): backups not read: no answer",
        "Error: Not everything could be read: see above. The rest is shown.",
    ]
    assert ended.output.index("name-2") < ended.output.index("not read")


@pytest.mark.parametrize(
    ("command", "beside", "said"),
    [
        (UNPROTECTED, {"resources": [], "coverage": [NOT_READ]}, "vaults not read: no answer"),
        (UNPROTECTED, {"coverage": [NOT_READ]}, "vaults not read: no answer"),
        (("vaults", "list"), {"unreadable_rows": 3}, "3 rows are left out"),
        (("vaults", "list", "--all-projects", "--limit", "2"), {"unreadable_rows": 3}, "3 rows"),
    ],
    ids=["no rows", "report", "list", "all projects"],
)
@pytest.mark.parametrize("limit", [(), ("--limit", "1")], ids=["whole", "limit"])
def test_a_limit_does_not_hide_what_was_not_read(listed, command, beside, said, limit):
    rows = "vaults" if "vaults" in command else "resources"
    ended = listed(Scripted(rows, **beside), *command, *limit)
    assert ended.exit_code == 3
    assert ended.stderr.count(said) == 1
    assert "Not everything could be read" in ended.stderr


def test_a_project_that_fails_is_told_also_where_the_limit_is_reached(listed, monkeypatch):
    good, bad = Scripted("vaults"), Scripted("vaults", Refusal("UNAVAILABLE", "region is away"))

    def run(*more):
        ways = iter([good, bad, good])
        monkeypatch.setattr("cbrctl.run.connect", lambda *_: next(ways))
        listing = ("vaults", "list", "--all-projects", "-o", "json", *more)
        return CliRunner().invoke(main, listing, prog_name="cbrctl")

    for more, rows in (((), 5), (("--limit", "4"), 4)):
        ended = run(*more)
        assert (ended.exit_code, len(json.loads(ended.stdout))) == (3, rows)
        assert "project p1: UNAVAILABLE: region is away" in ended.stderr


ENDS = {
    "a later page": (Refusal("UNAVAILABLE", "region is away"), 3),
    "the deadline": (Refusal("DEADLINE_EXCEEDED", "Deadline Exceeded"), 3),
    "an interrupt": (KeyboardInterrupt(), 1),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("last", ENDS)
@pytest.mark.parametrize("command", [UNPROTECTED, STREAMED], ids=lambda each: each[-1])
def test_what_was_read_is_shown_whatever_ends_the_list(listed, command, last, form):
    error, code = ENDS[last]
    ended = listed(Scripted("resources", error, coverage=[NOT_READ]), *command, "-o", form)
    # What ends an interrupted process is test_terminal's; here click says 1.
    assert ended.exit_code == code
    assert "name-0" in ended.stdout
    assert "name-1" in ended.stdout
    if form in {"json", "yaml"}:
        yaml.safe_load(ended.stdout)
    if command == UNPROTECTED:
        assert "vaults not read" in ended.stderr


def test_nothing_is_shown_where_nothing_was_read(capsys):
    def rows():
        raise Failed("away")
        yield

    for form in FORMS:
        with pytest.raises(Failed, match="away"):
            show_list(Look(form, columns=[Column(("id",), "text")]), rows())
    assert capsys.readouterr().out == ""
