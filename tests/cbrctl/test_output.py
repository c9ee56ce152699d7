"""Tables, CSV, JSON, YAML and queries, without a gateway."""

import csv
import io
import json

import pytest
import yaml

from cbrctl.failures import Failed
from cbrctl.index import Column
from cbrctl.output import Look, show_answer, show_list

COLUMNS = (
    Column(("id",), "text"),
    Column(("name",), "text"),
    Column(("billing", "status"), "enum", "VAULT_STATUS_", "status_raw"),
    Column(("billing", "size_gib"), "int"),
)
ROWS = (
    {"id": "1", "name": "a", "billing": {"status": "VAULT_STATUS_AVAILABLE", "size_gib": 9}},
    {
        "id": "22",
        "name": "数据库",
        "billing": {"status": "VAULT_STATUS_OTHER", "status_raw": "odd", "size_gib": 10},
    },
    {"id": "3", "name": "", "billing": {"status": "VAULT_STATUS_UNSPECIFIED"}},
)


def look(output="table", query=None):
    return Look(output, query, "id", "name", COLUMNS, COLUMNS)


def test_columns_stand_below_each_other_also_where_characters_are_wide(capsys):
    show_list(look(), ROWS)
    assert capsys.readouterr().out == (
        "ID  NAME    STATUS     SIZE_GIB\n"
        "1   a       available  9\n"
        "22  数据库  odd        10\n"
        "3   -       -          -\n"
    )


def test_nothing_that_is_shown_moves_the_cursor_or_adds_a_line(capsys):
    hostile = "a\x1b[2Jb\nc\u202ed\x00"
    for output in ("table", "wide", "csv", "name"):
        show_list(look(output), [{"id": hostile, "name": hostile}])
    show_list(look(query="[].name"), [{"id": hostile, "name": hostile}])
    shown = capsys.readouterr().out
    assert "\\x1b[2Jb\\nc\\u202ed\\x00" in shown
    assert not any(each in shown for each in "\x1b\u202e\x00")


def test_a_long_list_is_shown_as_it_comes(capsys):
    """Rows beyond those that columns are measured by need not be there when the first is shown."""

    def rows():
        for number in range(300):
            if number == 250:
                assert "\n0" in capsys.readouterr().out
            yield {"id": str(number), "name": "n"}

    show_list(look(), rows())
    assert "299" in capsys.readouterr().out


def test_other_forms_hold_the_same(capsys):
    show_list(look("json"), ROWS)
    assert json.loads(capsys.readouterr().out) == list(ROWS)
    show_list(look("yaml"), ROWS)
    assert yaml.safe_load(capsys.readouterr().out) == list(ROWS)
    show_list(look("jsonl"), ROWS)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == list(ROWS)
    show_list(look("name"), ROWS)
    assert capsys.readouterr().out.split() == ["1", "22", "3"]
    show_list(look("csv"), [{"id": '1,"', "name": "x"}])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["id", "name", "billing.status", "billing.size_gib"],
        ['1,"', "x", "", ""],
    ]


def test_queries_compare_numbers_as_numbers(capsys):
    show_list(look(query="[?billing.size_gib > `9`].id"), ROWS)
    assert capsys.readouterr().out == "22\n"
    show_list(look(query="sort_by(@, &id)[-1].{id: id, size: billing.size_gib}"), ROWS)
    assert capsys.readouterr().out == "ID  SIZE\n3   -\n"
    show_list(look("json", "length(@)"), ROWS)
    assert capsys.readouterr().out == "3\n"
    show_answer(look(query="vault.name"), {"vault": ROWS[0]}, ROWS[:1])
    assert capsys.readouterr().out == "a\n"


@pytest.mark.parametrize(
    "query", ["[?", "nothing(@)", "sort_by(@, &billing)", "[?id > `1`] | length(`1`)"]
)
def test_a_query_that_cannot_be_answered_is_a_sentence(query):
    with pytest.raises(Failed, match="--query") as failed:
        show_list(look(query=query), ROWS)
    assert failed.value.exit_code == 2
