"""How the fields of a request are written at a terminal: a type of click's for each kind."""

import json
import re
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from cbrctl.index import Given

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60}
_DURATION: Final = re.compile(
    "".join(rf"(?:(?P<{unit}>\d+){unit})?" for unit in _UNITS) + r"(?:(?P<s>\d+(?:\.\d+)?)s?)?"
)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


class Word(click.ParamType[str]):
    """A value of an enum, by its short word or its whole name."""

    name = "word"

    def __init__(self, given: Given) -> None:
        self._choices = given.choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(self._choices)}]"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        short = text.lower().replace("_", "-")
        if short in self._choices:
            return self._choices[short]
        if text.upper() in self._choices.values():
            return text.upper()
        return self.fail(f"{text!r} is none of {', '.join(self._choices)}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(each) for each in self._choices if each.startswith(incomplete)]


class Named(click.ParamType[str]):
    """The id of an object, or its name. Completion asks the gateway which there are."""

    def __init__(self, group: str) -> None:
        self.name = "id or name"
        self._group = group

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return None if isinstance(param, click.Argument) else "ID|NAME"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from cbrctl.completion import objects

        return objects(ctx, self._group, incomplete)


class Parsed(click.ParamType[object]):
    """Text that stands for something else; `parse` raises ValueError with what is wanted."""

    def __init__(self, name: str, metavar: str, parse: Any) -> None:  # noqa: ANN401 - any of those below
        self.name, self._metavar, self._parse = name, metavar, parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self._metavar

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        try:
            made: object = self._parse(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        return made


def time(text: str) -> str:
    """RFC 3339; a day alone is its start in UTC."""
    from datetime import datetime

    whole = f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text
    try:
        known = datetime.fromisoformat(whole).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise ValueError("is no time such as 2026-11-28T12:00:00Z or 2026-11-28")
    return whole


def date(text: str) -> dict[str, int]:
    from datetime import date as day

    try:
        found = day.fromisoformat(text)
    except ValueError:
        raise ValueError("is no day such as 2026-11-28") from None
    return {"year": found.year, "month": found.month, "day": found.day}


def duration(text: str) -> str:
    """Seconds, as the API's JSON writes them: `1d12h` is `129600s`."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError("is no duration such as 20, 1.5s, 90m, 12h, 2d or 1d12h")
    whole = sum(int(found[unit] or 0) * size for unit, size in _UNITS.items())
    seconds, _, part = (found["s"] or "0").partition(".")
    return f"{whole + int(seconds)}{f'.{part}' if part else ''}s"


def message(text: str) -> dict[str, Any]:
    """`key=value,key=value`, with dots for what is further inside; or a JSON object."""
    made: dict[str, Any] = {}
    if text.lstrip().startswith("{"):
        whole: dict[str, Any] = document(text)
        return whole
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise ValueError('is not key=value,key=value or {"key": "value"}')
        *above, last = key.strip().split(".")
        inside = made
        for each in above:
            inside = inside.setdefault(each, {})
            if not isinstance(inside, dict):
                raise ValueError(f"is no object: {each} is a value and holds others")  # noqa: TRY004
        inside[last] = value
    return made


def mask(text: str) -> str:
    """Paths of fields with commas between, or `*`, as the API's JSON writes them."""
    if not re.fullmatch(r"\*|[a-z0-9_.]+(,[a-z0-9_.]+)*", text):
        raise ValueError("is no list of fields such as id,billing.size_gib")
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), text)


def document(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error


def type_of(given: Given) -> click.ParamType[Any]:
    match given.kind:
        case "bool":
            return click.BOOL
        case "int":
            return click.INT
        case "number":
            return click.FLOAT
        case "enum":
            return Word(given)
        case "text":
            return Named(given.group) if given.group else click.STRING
    return _PARSED[given.kind]


_PARSED: Final = {
    "time": Parsed("time", "TIME", time),
    "date": Parsed("date", "YYYY-MM-DD", date),
    "duration": Parsed("duration", "DURATION", duration),
    "mask": Parsed("mask", "FIELD,...", mask),
    "message": Parsed("message", "KEY=VALUE,...", message),
    "json": Parsed("json", "JSON", document),
}
