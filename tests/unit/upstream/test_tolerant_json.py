"""What is no strict JSON and can be read all the same, what of it cannot be taken, and what is
refused.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream import strict_json
from gateway.upstream.strict_json import MAX_DEPTH, NotJson
from gateway.upstream.tolerant_json import Damaged, is_damaged, loads
from tests.unit.upstream.test_strict_json import documents

NO_TEXT, OUT_OF_RANGE, TWICE = (
    "is no Unicode text",
    "is out of range",
    "stands there more than once",
)
DAMAGED = {
    "a lone surrogate": (rb'"team \ud83d"', NO_TEXT, "team \\ud83d"),
    "surrogates the wrong way": (rb'"\udc00\ud800"', NO_TEXT, "\\udc00\\ud800"),
    "an encoded surrogate": (b'"\xed\xa0\x80"', NO_TEXT, "\\udced\\udca0\\udc80"),
    "a byte that is no UTF-8": (b'"M\xfcller"', NO_TEXT, "M\\udcfcller"),
    "1e400": (b"1e400", OUT_OF_RANGE, "1e400"),
    "-1e400": (b"-1e400", OUT_OF_RANGE, "-1e400"),
    "5000 digits": (b"9" * 5000, OUT_OF_RANGE, "9" * 5000),
    "NaN": (b"NaN", "is no number", "NaN"),
    "-Infinity": (b"-Infinity", "is no number", "-Infinity"),
}
READ = {
    "byte order mark": (b"\xef\xbb\xbf{}", {}),
    "UTF-16": ('{"a": "ü"}'.encode("utf-16"), {"a": "ü"}),
    "UTF-16, big end first": ('{"a": "ü"}'.encode("utf-16-be"), {"a": "ü"}),
    "UTF-32": ('{"a": "ü"}'.encode("utf-32"), {"a": "ü"}),
    "a line break in text": (b'"a\nb"', "a\nb"),
    "the same twice": (b'{"a":{"b":1},"a":{"b":1}}', {"a": {"b": 1}}),
    "damage in a key": (rb'{"\ud800":1}', {"\\ud800": 1}),
}
REFUSED = {
    "empty": b"",
    "cut": b'{"a": [1, 2',
    "cut text": b'"\\ud83d',
    "two documents": b"{} {}",
    "HTML": b"<html>",
    "single quotes": b"{'a': 1}",
    "trailing comma": b"[1,]",
    "leading zero": b"01",
    "comment": b"{} // no",
    "odd UTF-16": '{"a": 1}'.encode("utf-16")[:-1],
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_costs_itself_and_is_kept(name):
    text, problem, kept = DAMAGED[name]
    wanted = Damaged(problem, kept)
    assert loads(b'{"good":"ok","bad":%b,"list":[1,%b]}' % (text, text)) == {
        "good": "ok",
        "bad": wanted,
        "list": [1, wanted],
    }
    assert is_damaged(loads(b"[[%b]]" % text))


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_without_loss_is(name):
    body, value = READ[name]
    with pytest.raises(NotJson):
        strict_json.loads(body)
    assert loads(body) == value
    assert not is_damaged(loads(body))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_document_is_refused(name):
    with pytest.raises(NotJson):
        loads(REFUSED[name])


def test_a_key_that_says_two_things_says_nothing_unless_the_last_counts():
    body = rb'{"a":1,"b":{"c":1,"c":"\ud800"},"a":2,"d":[]}'
    damaged = Damaged(NO_TEXT, "\\ud800")
    assert loads(body) == {
        "a": Damaged(TWICE, [1, 2]),
        "b": {"c": Damaged(TWICE, [1, damaged])},
        "d": [],
    }
    assert loads(body, last_counts=True) == {"a": 2, "b": {"c": damaged}, "d": []}
    assert loads(b'{"a":1,"a":true}') == {"a": Damaged(TWICE, [1, True])}


def test_what_is_nested_too_deeply_is_kept_as_text():
    deep = b"[" * MAX_DEPTH + rb'{"x":1e400,"y":"\ud800"}' + b"]" * MAX_DEPTH
    value = loads(b'{"a":1,"deep":%b}' % deep)
    assert value["a"] == 1
    value = value["deep"]
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value.problem == f"is nested deeper than {MAX_DEPTH} levels"
    assert json.loads(value.kept) == [{"x": "1e400", "y": "\ud800"}]


@given(documents())
@settings(max_examples=200)
def test_it_agrees_with_the_standard_library_on_any_document(document):
    body = document.encode()
    assert loads(body, last_counts=True) == json.loads(body)


@given(st.binary(max_size=30) | st.text('{}[]":,\\u0a 1e-d8', max_size=30).map(str.encode))
@settings(max_examples=300)
def test_any_bytes_are_a_value_that_can_be_sent_on_or_no_json(body):
    try:
        value = loads(body)
    except NotJson:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False, default=lambda each: each.kept).encode()
