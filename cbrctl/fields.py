"""How the fields of a request are written at a terminal: a type of click's for each kind."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from cbrctl import values
from cbrctl.index import Given


class Parsed(click.ParamType[object]):
    """Text that stands for something else; `parse` raises ValueError with what is wanted."""

    def __init__(self, name: str, metavar: str, parse: Callable[[str], object]) -> None:
        self.name, self._metavar, self._parse = name, metavar, parse

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self._metavar

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            return self.fail(f"{value!r} {error}", param, ctx)


class Word(Parsed):
    """A value of an enum, by its short word or its whole name."""

    def __init__(self, given: Given) -> None:
        offered = f"[{'|'.join(given.choices)}]"
        super().__init__("word", offered, partial(values.word, choices=given.choices))
        self._choices = given.choices

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
    "time": Parsed("time", "TIME", values.time),
    "date": Parsed("date", "YYYY-MM-DD", values.date),
    "duration": Parsed("duration", "DURATION", values.duration),
    "mask": Parsed("mask", "FIELD,...", values.mask),
    "message": Parsed("message", "KEY=VALUE,...", values.message),
    "json": Parsed("json", "JSON", values.document),
}
