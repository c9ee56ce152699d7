# ruff: noqa: ANN401 - nothing is known of a JSON value before it is checked here
"""Checks of request bodies and queries, written as values.

A check takes a JSON value and its dotted name, and returns the value or raises the parameter error
that names it. JSON null counts as absent everywhere but under `nullable`. Unknown keys are refused:
the service answers "invalid key …" to them, and a client that misspells a key must not pass here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.errors import invalid, service_error

JsonObject = dict[str, Any]
Check = Callable[[Any, str], Any]

NAME_PATTERN = r"[\u4E00-\u9FA5\uf900-\ufa2da-zA-Z0-9_\-]*"
TAG_FORBIDDEN = re.compile(r"[\x00-\x1f=*<>\\,|/]")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Need:
    """Marks a field that must be present."""

    check: Check


def text(low: int = 0, high: int | None = None, pattern: str = "") -> Check:
    """Accept a string of low..high characters that matches `pattern` as a whole."""
    compiled = re.compile(pattern) if pattern else None

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, str):
            raise invalid(name, "must be a string")
        if len(value) < low or (high is not None and len(value) > high):
            raise invalid(
                name, f"length {len(value)} is not in {low}..{'' if high is None else high}"
            )
        if compiled is not None and not compiled.fullmatch(value):
            raise invalid(name, "has characters that are not allowed")
        return value

    return check


def integer(low: int | None = None, high: int | None = None, *special: int) -> Check:
    """Accept a whole number of low..high, or one of `special`."""

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(name, "must be an integer")
        if value not in special and (
            (low is not None and value < low) or (high is not None and value > high)
        ):
            raise invalid(name, f"{value} is out of range")
        return value

    return check


def number(low: float, high: float) -> Check:
    """Accept any number of low..high."""

    def check(value: Any, name: str) -> Any:
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            raise invalid(name, f"must be a number of {low}..{high}")
        return value

    return check


def boolean(value: Any, name: str) -> Any:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise invalid(name, "must be true or false")
    return value


def anything(value: Any, name: str) -> Any:
    """Accept every JSON value."""
    del name
    return value


def mapping(value: Any, name: str) -> Any:
    """Accept an object with any keys."""
    if not isinstance(value, dict):
        raise invalid(name or "body", "must be an object")
    return value


def word(*words: str) -> Check:
    """Accept one of `words`."""

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, str) or value not in words:
            raise invalid(name, f"must be one of {', '.join(words)}")
        return value

    return check


def many(item: Check, low: int = 0, high: int | None = None) -> Check:
    """Accept a list of low..high items that each pass `item`."""

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, list):
            raise invalid(name, "must be a list")
        if len(value) < low or (high is not None and len(value) > high):
            raise invalid(
                name, f"{len(value)} items, allowed are {low}..{'' if high is None else high}"
            )
        return [item(each, f"{name}[{index}]") for index, each in enumerate(value)]

    return check


def nullable(inner: Check) -> Check:
    """Accept null and keep it, else apply `inner`."""

    def check(value: Any, name: str) -> Any:
        return None if value is None else inner(value, name)

    check.__dict__["keeps_null"] = True
    return check


def record(**fields: Check | Need) -> Check:
    """Accept an object with these keys only; `Need` marks those that must be there."""

    def check(value: Any, name: str) -> Any:
        if not isinstance(value, dict):
            raise invalid(name or "body", "must be an object")
        return _checked(value, fields, f"{name}." if name else "")

    return check


def _checked(value: JsonObject, fields: Mapping[str, Check | Need], prefix: str) -> JsonObject:
    unknown = next((key for key in value if key not in fields), None)
    if unknown is not None:
        raise service_error(9900, f"invalid key {prefix}{unknown}")
    result: JsonObject = {}
    for key, rule in fields.items():
        check = rule.check if isinstance(rule, Need) else rule
        if value.get(key) is None and not (key in value and getattr(check, "keeps_null", False)):
            if isinstance(rule, Need):
                raise invalid(prefix + key, "is required")
            continue
        result[key] = check(value[key], prefix + key)
    return result


def tag_text(high: int, low: int = 0) -> Check:
    """Accept a tag key or value."""
    plain = text(low, high)

    def check(value: Any, name: str) -> Any:
        if TAG_FORBIDDEN.search(plain(value, name)):
            raise invalid(name, "has characters that are not allowed")
        return value.strip()

    return check


NAME = text(1, 64, NAME_PATTERN)
REGION = text(0, 255, r"[a-zA-Z0-9._\-]*")
PLAIN = text(0, 255, r"[^<>]*")
TAG_KEY, TAG_VALUE = tag_text(36, 1), tag_text(43)
TAG = record(key=Need(TAG_KEY), value=Need(TAG_VALUE))


# Queries: the same idea over strings. A query check gets the list of values of one name.

QueryCheck = Callable[[list[str], str], Any]


def q_text(values: list[str], name: str) -> Any:
    """Take the last value as it is."""
    del name
    return values[-1]


def q_list(values: list[str], name: str) -> Any:
    """Take all values: the name may be repeated."""
    del name
    return values


def q_integer(low: int, high: int | None = None) -> QueryCheck:
    """Take a whole number of low..high."""
    bounds = integer(low, high)

    def check(values: list[str], name: str) -> Any:
        if not re.fullmatch(r"-?\d{1,18}", values[-1], re.ASCII):
            raise invalid(name, "must be an integer")
        return bounds(int(values[-1]), name)

    return check


def q_boolean(values: list[str], name: str) -> Any:
    """Take true or false, in any case."""
    lowered = values[-1].lower()
    if lowered not in {"true", "false"}:
        raise invalid(name, "must be true or false")
    return lowered == "true"


def q_word(*words: str) -> QueryCheck:
    """Take one of `words`."""
    accepted = word(*words)
    return lambda values, name: accepted(values[-1], name)


def q_words(*words: str) -> QueryCheck:
    """Take one or more of `words`, the name repeated."""
    accepted = word(*words)
    return lambda values, name: [accepted(value, name) for value in values]


def q_need(inner: QueryCheck) -> QueryCheck:
    """Refuse a request without this name; `parse_query` hands over an empty list then."""

    def check(values: list[str], name: str) -> Any:
        if not values:
            raise invalid(name, "is required")
        return inner(values, name)

    check.__dict__["required"] = True
    return check


PAGING: dict[str, QueryCheck] = {
    "limit": q_integer(1, 1000),
    "offset": q_integer(0),
    "marker": q_text,
}


def parse_query(rules: Mapping[str, QueryCheck], given: Mapping[str, list[str]]) -> JsonObject:
    """Check the names that `rules` know; the service ignores all others."""
    result: JsonObject = {}
    for name, check in rules.items():
        values = given.get(name)
        if values or getattr(check, "required", False):
            result[name] = check(values or [], name)
    return result
