"""Values as people write them, with flags and in files, to what the API's JSON has.

Each raises ValueError with what is wanted, in words that follow the name of the field. What is
written as the API's JSON has it is taken, too.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60}
DURATION: Final = (
    "".join(rf"(?:([0-9]+){unit})?" for unit in _UNITS) + r"(?:([0-9]+)(\.[0-9]{1,9})?s?)?"
)
"""Its groups: how many of each unit, whole seconds, and their fraction."""
_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
MASK: Final = r"\*|[A-Za-z0-9_.]+(,[A-Za-z0-9_.]+)*"
_UNTOLD: Final = frozenset({"unspecified", "other"})
"""Words of enums that an answer has, and no request means."""


def words(names: Iterable[str], prefix: str) -> dict[str, str]:
    """The values of an enum by their short words: `server` for OBJECT_TYPE_SERVER."""
    return {name.removeprefix(prefix).lower().replace("_", "-"): name for name in names}


def told(choices: Iterable[str]) -> list[str]:
    """The words that are offered."""
    return [each for each in choices if each not in _UNTOLD]


def word(value: object, choices: Mapping[str, str]) -> str:
    """A value of an enum, by its short word or its whole name."""
    if isinstance(value, str):
        short = value.lower().replace("_", "-")
        if short in choices:
            return choices[short]
        if value.upper() in choices.values():
            return value.upper()
    raise ValueError(f"must be one of {', '.join(told(choices))}")


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text; put it into quotes")  # noqa: TRY004 - all are of one kind
    return value


def beginning(choices: Mapping[str, str]) -> str:
    """What all whole values begin with, such as `OS::`."""
    return "".join(next(iter(choices.values())).partition("::")[:2])


def known_text(value: object, choices: Mapping[str, str]) -> str:
    """A value by its short word, or whole, also one that this version does not know."""
    written = text(value)
    if written.lower() not in choices and not written.startswith(beginning(choices)):
        raise ValueError(f"must be one of {', '.join(choices)}, or begin with {beginning(choices)}")
    return choices.get(written.lower(), written)


def boolean(value: object) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower())
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - as above
    return value


def whole(value: object) -> int:
    """Also as text, as the API's JSON writes those of 64 bits."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - as above
    return value


def number(value: object) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)
    raise ValueError("must be a number")


def time(value: object) -> str:
    """RFC 3339; a day alone is its start in UTC."""
    from datetime import datetime

    written = str(value)
    whole_time = f"{written}T00:00:00Z" if re.fullmatch(_DAY, written) else written
    try:
        known = datetime.fromisoformat(whole_time).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be a time such as 2026-11-28T12:00:00Z or 2026-11-28")
    return whole_time


def date(value: object) -> dict[str, int]:
    from datetime import date as day

    try:
        found = day(**value) if isinstance(value, Mapping) else day.fromisoformat(str(value))
    except (ValueError, TypeError):
        raise ValueError("must be a day such as 2026-11-28") from None
    return {"year": found.year, "month": found.month, "day": found.day}


def duration(value: object) -> str:
    """Seconds, as the API's JSON writes them: `1d12h` is `129600s`."""
    written = "" if isinstance(value, bool) else str(value)
    found = re.fullmatch(DURATION, written)
    if not written or found is None:
        raise ValueError("must be a duration such as 20, 1.5s, 90m, 12h, 2d or 1d12h")
    *counts, seconds, part = found.groups()
    longer = sum(int(n or 0) * size for n, size in zip(counts, _UNITS.values(), strict=True))
    return f"{longer + int(seconds or 0)}{part or ''}s"


def mask(value: object) -> str:
    """Paths of fields with commas between, or `*`, as the API's JSON writes them."""
    written = str(value)
    if not re.fullmatch(MASK, written):
        raise ValueError("must be a list of fields such as id,billing.size_gib")
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), written)


def message(written: str) -> dict[str, Any]:
    """`key=value,key=value`, with dots for what is further inside; or a JSON object."""
    made: dict[str, Any] = {}
    if written.lstrip().startswith("{"):
        whole_object: dict[str, Any] = document(written)
        return whole_object
    for part in written.split(","):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise ValueError('must be key=value,key=value or {"key": "value"}')
        *above, last = key.strip().split(".")
        inside = made
        for each in above:
            inside = inside.setdefault(each, {})
            if not isinstance(inside, dict):
                raise ValueError(f"must have {each} as a value or with others inside, not both")  # noqa: TRY004 - as above
        inside[last] = value
    return made


def document(written: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(written)
    except ValueError as error:
        raise ValueError(f"must be JSON: {error}") from error
