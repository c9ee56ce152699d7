"""From the text of a filter to its tree: AIP-160, as far as docs/filters.md says."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from gateway.query.tokens import Kind, Token, tokens, wrong

_MAX_DEPTH: Final = 20
_NO_WILDCARD: Final = (
    "`*` stands for nothing but itself: text that holds a value is found by `:`, what is set by"
    " `field:*`. Where a `*` is meant, put the value in quotation marks"
)


class Comparison(Struct, frozen=True):
    """`path operator value`."""

    path: Token
    operator: str
    value: Token

    @property
    def is_presence(self) -> bool:
        """`field:*`: whether it has any value."""
        return self.operator == ":" and self.value.text == "*" and not self.value.quoted


class Not(Struct, frozen=True):
    """What must not be so."""

    part: "Tree"


class Both(Struct, frozen=True):
    """All of several (`every`), or any."""

    parts: Sequence["Tree"]
    every: bool


Tree: TypeAlias = Comparison | Not | Both


def parse(text: str) -> Tree:
    """The tree of a filter that is not empty. Raises FIELD_INVALID with the position."""
    reader = _Reader(text)
    tree = reader.expression(0)
    reader.expect(Kind.END, "AND, OR or the end")
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self._rest = tokens(text)
        self._next = next(self._rest)

    def take(self) -> Token:
        token = self._next
        if token.kind is not Kind.END:
            self._next = next(self._rest)
        return token

    def expect(self, kind: Kind, named: str) -> Token:
        if self._next.kind is not kind:
            raise wrong(self._next.position, f"{named} is expected here, not {self._next}")
        return self.take()

    def expression(self, depth: int) -> Tree:
        """Parts that are joined by AND, or by OR.

        To mix both would be read in one way here and in another by AIP-160, so it wants
        parentheses.
        """
        if depth > _MAX_DEPTH:
            raise wrong(self._next.position, f"parentheses are nested at most {_MAX_DEPTH} deep")
        parts, joined = [self._part(depth)], None
        while self._next.kind in {Kind.AND, Kind.OR}:
            word = self.take()
            if joined not in {None, word.kind}:
                raise wrong(word.position, "AND and OR are mixed; put parentheses around one")
            joined = word.kind
            parts.append(self._part(depth))
        return Both(parts, every=joined is Kind.AND) if joined else parts[0]

    def _part(self, depth: int) -> Tree:
        negated = False
        while self._next.kind is Kind.NOT:
            self.take()
            negated = not negated
        if self._next.kind is Kind.OPEN:
            part = self._inside(depth)
        else:
            path = self.expect(Kind.PATH, "a field, NOT or `(`")
            operator = self.expect(Kind.OPERATOR, "one of = != < > <= >= :")
            part = Comparison(path, operator.text, self.expect(Kind.VALUE, "a value"))
            if "*" in part.value.text and not (part.value.quoted or part.is_presence):
                raise wrong(part.value.position, _NO_WILDCARD)
        return Not(part) if negated else part

    def _inside(self, depth: int) -> Tree:
        opened = self.take()
        part = self.expression(depth + 1)
        closing = self.take()
        if closing.kind is Kind.END:
            raise wrong(opened.position, "this parenthesis is not closed")
        if closing.kind is not Kind.CLOSE:
            raise wrong(closing.position, f"AND, OR or `)` is expected here, not {closing}")
        return part
