"""Answers that differ from their description: told once, and without harm however often they do."""

import pytest
from structlog.testing import capture_logs

from gateway.operations import load_catalog
from gateway.upstream.drift import MAX_KEY_CHARS, MAX_KEYS, Drift
from tests.counting import counted_steps


@pytest.fixture
def lines():
    with capture_logs() as captured:
        yield captured


def test_a_member_is_logged_once_per_operation_and_counted_each_time(lines):
    drift = Drift()
    for operation, problem in (
        ("A", ""),
        ("B", ""),
        ("A", ""),
        ("A", "must be a string"),
        ("A", "must be a string"),
    ):
        drift(operation, "m", "new", problem)
    assert [(line["operation"], line["key"], line.get("problem", "")) for line in lines] == [
        ("A", "new", ""),
        ("B", "new", ""),
        ("A", "new", "must be a string"),
    ]
    assert (drift.unknown, drift.unreadable) == ({"A": 2, "B": 1}, {"A": 2})


def test_a_map_where_an_object_was_expected_does_not_fill_the_log(lines):
    unknown = Drift()
    for number in range(10_000):
        unknown("A", "a", f"{number}" + "x" * 1000, "")
    unknown("A", "b", "new", "")
    assert len(lines) == MAX_KEYS + 2
    assert [line["event"].partition(";")[0] for line in lines[-2:]] == [
        "answers of CBR differ in more members",
        "answer of CBR has a member that is not modelled",
    ]
    assert max(len(line.get("key", "")) for line in lines) == MAX_KEY_CHARS
    assert (
        sum(len(key) for keys in unknown._seen.values() for key, _ in keys)
        <= (MAX_KEYS + 2) * MAX_KEY_CHARS
    )


@pytest.mark.parametrize(
    ("rpc", "answer"),
    [
        (
            "VaultService/GetVaultSummary",
            lambda many: {"size": 1, "used_size": 1, **{f"k{number}": 1 for number in range(many)}},
        ),
        (
            "VaultService/ListVaultTags",
            lambda many: {
                "tags": [{"key": "k", **{f"k{number}": 1 for number in range(20)}}] * (many // 20)
            },
        ),
    ],
    ids=["one object", "many rows"],
)
def test_each_of_many_unknown_members_costs_as_much_as_one_of_a_few(lines, rpc, answer):
    def cost(many):
        """Of the first answer, from which most is learnt."""
        binding, given = load_catalog(on_drift=Drift())[rpc], answer(many)
        with counted_steps() as steps:
            binding.response(given)
        return steps.number

    cost(1000)
    assert 10_000 < cost(10_000) < 10.1 * cost(1000)
    assert len(lines) <= 3 * (MAX_KEYS + 1)
