"""The words of a filter, each with its position."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from msgspec import Struct

from gateway.errors import GatewayError, field_invalid

MAX_CHARS: Final = 2000


class Kind(Enum):
    """What a word is."""

    PATH = "a field"
    OPERATOR = "an operator"
    VALUE = "a value"
    AND = "AND"
    OR = "OR"
    NOT = "NOT"
    OPEN = "("
    CLOSE = ")"
    END = "the end"


class Token(Struct, frozen=True):
    """`position`: of its first character, from 1. `quoted`: of a value."""

    kind: Kind
    text: str
    position: int
    quoted: bool = False

    def __str__(self) -> str:
        return f"`{self.text}`" if self.text else self.kind.value


_KEYWORDS: Final = {"AND": Kind.AND, "OR": Kind.OR, "NOT": Kind.NOT}
_BRACKETS: Final = {"(": Kind.OPEN, ")": Kind.CLOSE}
_OPERATOR: Final = re.compile(r"!=|<=|>=|=|<|>|:")
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_BARE: Final = re.compile(r"""[^\s()"']+""")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def tokens(text: str) -> Iterator[Token]:
    """The words, and one for the end.

    Raises FIELD_INVALID. What stands behind an operator is a value, whatever it looks like.
    """
    if len(text) > MAX_CHARS:
        raise wrong(MAX_CHARS + 1, f"a filter has at most {MAX_CHARS} characters")
    place, after_operator = 0, False
    while True:
        place += len(text[place:]) - len(text[place:].lstrip())
        if place == len(text):
            yield Token(Kind.END, "", place + 1)
            return
        token, end = _value(text, place) if after_operator else _word(text, place)
        yield token
        place, after_operator = end, token.kind is Kind.OPERATOR


def _value(text: str, place: int) -> tuple[Token, int]:
    if text[place] in "\"'":
        found = _QUOTED.match(text, place)
        if found is None:
            raise wrong(place + 1, "this quotation mark is not closed")
        inside = _ESCAPED.sub(r"\1", found[0][1:-1])
        return Token(Kind.VALUE, inside, place + 1, quoted=True), found.end()
    found = _BARE.match(text, place)
    if found is None:
        raise wrong(place + 1, f"a value is missing before `{text[place]}`")
    return Token(Kind.VALUE, found[0], place + 1), found.end()


def _word(text: str, place: int) -> tuple[Token, int]:
    if text[place] in _BRACKETS:
        return Token(_BRACKETS[text[place]], text[place], place + 1), place + 1
    for kind, pattern in ((Kind.OPERATOR, _OPERATOR), (Kind.PATH, _PATH)):
        if found := pattern.match(text, place):
            return Token(_KEYWORDS.get(found[0], kind), found[0], place + 1), found.end()
    raise wrong(
        place + 1, f"`{text[place]}` is no field; a comparison is written `field operator value`"
    )


def wrong(position: int, description: str, path: str = "filter") -> GatewayError:
    """FIELD_INVALID at a position."""
    return field_invalid(path, f"position {position}: {description}", "filter")
