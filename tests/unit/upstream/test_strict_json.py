"""What the strict reader refuses, and that it takes everything else as the standard library
does.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.strict_json import MAX_DEPTH, NotJson, loads

REFUSED = {
    "empty": b"",
    "blank": b" \n",
    "truncated": b'{"a": [1, 2',
    "cut in a word": b"tru",
    "trailing": b"{} {}",
    "comment": b"{} // no",
    "single quotes": b"{'a': 1}",
    "trailing comma": b"[1,]",
    "leading zero": b"01",
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "broken utf-8": b'"\xff"',
    "overlong utf-8": b'"\xc0\xaf"',
    "encoded surrogate": b'"\xed\xa0\x80"',
    "control character": b'"a\x00"',
    "line break in a string": b'"a\nb"',
    "NaN": b"NaN",
    "NaN inside": b'{"a": [NaN]}',
    "Infinity": b"Infinity",
    "-Infinity": b'{"a": -Infinity}',
    "1e999": b"1e999",
    "-1e999": b'{"a": -1e999}',
    "5000 digits": b"9" * 5000,
    "minus 5000 digits": b"-" + b"9" * 5000,
    "high surrogate alone": rb'"\ud800"',
    "high surrogate and a letter": rb'"\ud800\u0041"',
    "low surrogate alone": rb'"\udc00"',
    "surrogates the wrong way": rb'"\udc00\ud800"',
    "surrogate in a key": rb'{"\ud800": 1}',
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open arrays": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "33 arrays": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "33 objects": b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
}
REPEATED = {
    "compact": b'{"a":1,"a":2}',
    "equal values": b'{"a":1,"a":1}',
    "spaced before the colon": b'{"a" : 1, "a" : 2}',
    "one spaced": b'{"a":1,"a" :2}',
    "line breaks": b'{\n"a"\r\n:1,\n"a"\t:2\n}',
    "spaces elsewhere": b'{ "a": 1, "a": 2 }',
    "escaped letter": rb'{"a":1,"\u0061":2}',
    "escaped quote": rb'{"a\"":1,"a\u0022":2}',
    "escaped quote and colon": rb'{"a\":":1,"a\":":2}',
    "escaped solidus": rb'{"\/":1,"/":2}',
    "empty keys": b'{"":1,"":2}',
    "nested": b'{"a":{"b":1,"b":2}}',
    "in an array": b'[1,[{"b":1,"b":2}]]',
    "deep": b'{"a":' * 20 + b'{"b":1,"b":2}' + b"}" * 20,
    "objects": b'{"a":{"x":1},"a":{"y":1}}',
    "hidden by a value that looks like a key": rb'{"a":1,"a":2,"b":"\":"}',
    "hidden by a text without a key": b'{"a":1,"a" :"\\":"}',
    "null": b'{"a":null,"a":null}',
    "not ascii": '{"ä":1,"\\u00e4":2}'.encode(),
    "surrogate pair": '{"😀":1,"\\ud83d\\ude00":2}'.encode(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_strict_json_is_refused_in_our_words(name):
    with pytest.raises(NotJson) as caught:
        loads(REFUSED[name])
    assert str(caught.value) in {"not a JSON document", f"nested deeper than {MAX_DEPTH} levels"}


@pytest.mark.parametrize("name", REPEATED)
def test_a_repeated_key_is_refused(name):
    json.loads(REPEATED[name])
    with pytest.raises(NotJson, match=r"^an object repeats a key$"):
        loads(REPEATED[name])


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"18446744073709551616", 2**64),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"9007199254740993", 2**53 + 1),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\u0000"', "\x00"),
        (b'{"a":{"a":{"a":1}}}', {"a": {"a": {"a": 1}}}),
        (b'[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
        (rb'{"a":"\":","b":"x\": \"y"}', {"a": '":', "b": 'x": "y'}),
        (b" \r\n\t{} ", {}),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
        (b"null", None),
        (b'"text"', "text"),
    ],
)
def test_odd_but_right_documents_are_read(body, value):
    assert loads(body) == value


def test_numbers_keep_their_kind():
    assert [type(item) for item in loads(b"[1, 1.0, 1e0, true]")] == [int, float, float, bool]


text = st.text(st.sampled_from('a":\\ \n\u00e4\u2028😀,{}[]'), max_size=4)
spaces = st.text(" \t\r\n", max_size=2)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)


@st.composite
def documents(draw, depth=3):
    """JSON text with spaces anywhere they may stand, keys drawn from few so that they repeat, and
    either way of escaping.
    """

    def space():
        return draw(spaces)

    def scalar(value):
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    kind = draw(st.sampled_from(["scalar", "array", "object", "object"])) if depth else "scalar"
    if kind == "scalar":
        return space() + scalar(draw(scalars)) + space()
    items = [draw(documents(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == "object":
        items = [f"{space()}{scalar(draw(text))}{space()}:{item}" for item in items]
    inside = ",".join(items) or space()
    return f"{{{inside}}}" if kind == "object" else f"[{inside}]"


class Repeated(Exception):  # noqa: N818 - what the oracle says of a document
    pass


def unique(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise Repeated
    return dict(pairs)


def verdict(read, refusal, body):
    try:
        return read(body)
    except refusal:
        return Repeated


@given(documents())
@settings(max_examples=300)
def test_it_agrees_with_the_standard_library_on_any_document(document):
    body = document.encode()
    expected = verdict(lambda raw: json.loads(raw, object_pairs_hook=unique), Repeated, body)
    assert verdict(loads, NotJson, body) == expected


@given(st.binary(max_size=30) | st.text('{}[]":,\\u0a 1e-', max_size=30).map(str.encode))
@settings(max_examples=500)
def test_any_bytes_are_a_value_or_no_json(body):
    verdict(loads, NotJson, body)
