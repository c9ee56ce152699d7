"""JSON from CBR of which a part cannot be taken: that part costs itself and nothing else.

Strict JSON goes the strict way (strict_json.py). What that refuses is decoded once more by the
standard library, which reads other encodings, a byte order mark and control characters inside of
text, and lets everything else be named: text that is no Unicode, numbers out of every range, NaN,
a key that stands there again with another value, what is nested too deeply. In the place of each
stands a `Damaged`, which no reader takes for a value. What is no JSON at all, cut, or two documents
is refused as ever.
"""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

from msgspec import Struct

from gateway.upstream import strict_json
from gateway.upstream.strict_json import MAX_DEPTH, NotJson


class Damaged(Struct, frozen=True):
    """A value that nobody can take as it is.

    `kept`: what stood there, as it can be kept; values inside may be damaged, too.
    """

    problem: str
    kept: Any

    def __str__(self) -> str:
        return str(self.kept)


def loads(body: bytes, *, last_counts: bool = False) -> object:
    """Decodes one document.

    Raises NotJson. `last_counts`: of a key that stands there again the last value counts, as it
    does where answers are decoded into structs (typed.py), instead of none.
    """
    try:
        return strict_json.loads(body)
    except NotJson as refusal:
        decoder = _LAST_COUNTS if last_counts else _NONE_COUNTS
        try:
            return _mended(decoder.decode(_text(body)), MAX_DEPTH)
        except (ValueError, RecursionError):
            raise refusal from None


def is_damaged(value: object) -> bool:
    """Whether something in a value is."""
    if type(value) is dict:
        return any(map(is_damaged, value.values()))
    return any(map(is_damaged, value)) if type(value) is list else type(value) is Damaged


def _text(body: bytes) -> str:
    """The body as text; bytes that do not belong there are surrogates in it."""
    encoding = json.detect_encoding(body)
    utf_8 = encoding.startswith("utf-8")
    return body.decode(encoding, "surrogateescape" if utf_8 else "surrogatepass")


def _mended(value: Any, levels: int) -> Any:  # noqa: ANN401 - what the decoder makes
    """The value with everything named that it cannot have, and nested no deeper."""
    if type(value) is str:
        kept = _escaped(value)
        return value if kept == value else Damaged("is no Unicode text", kept)
    if type(value) is Damaged:
        kept = _mended(value.kept, levels)
        return kept if type(kept) is Damaged else Damaged(value.problem, kept)
    if not isinstance(value, dict | list):
        return value
    if not levels:
        deep = json.dumps(value, default=str)
        return Damaged(f"is nested deeper than {MAX_DEPTH} levels", deep)
    if isinstance(value, list):
        return [_mended(item, levels - 1) for item in value]
    return {_escaped(key): _mended(item, levels - 1) for key, item in value.items()}


def _escaped(text: str) -> str:
    """With a surrogate that stands alone as JSON would write it, since no other text can hold it.

    A byte that is no UTF-8 is one, too: U+DC00 and the byte.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _unequivocal(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    told: dict[str, list[Any]] = {}
    for key, value in pairs:
        told.setdefault(key, []).append(value)
    return {
        key: several[0]
        if len(set(map(repr, several))) == 1
        else Damaged("stands there more than once", several)
        for key, several in told.items()
    }


def _real(text: str) -> float | Damaged:
    number = float(text)
    return number if isfinite(number) else Damaged("is out of range", text)


def _whole(text: str) -> int | Damaged:
    try:
        return int(text)
    except ValueError:
        return Damaged("is out of range", text)


def _decoder(object_of: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=object_of,
        parse_float=_real,
        parse_int=_whole,
        parse_constant=lambda word: Damaged("is no number", word),
        strict=False,
    )


_LAST_COUNTS: Final = _decoder(dict)
_NONE_COUNTS: Final = _decoder(_unequivocal)
