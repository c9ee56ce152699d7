"""How answers look: `-o` and `--query`."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final, NamedTuple

import click

from cbrctl.cells import NOTHING, cell, text, width
from cbrctl.failures import USAGE, Failed
from cbrctl.index import Column

Row = Mapping[str, Any]
_MEASURED: Final = 200
"""Rows by which the columns of a table are measured: a longer list is shown as it comes."""


class Look(NamedTuple):
    """What is shown of objects, and how.

    `id`, `name`: the fields that `-o name` shows. `columns`, `wide`: those of tables; CSV has the
    wide ones.
    """

    output: str = "table"
    query: str | None = None
    id: str = ""
    name: str = ""
    columns: Sequence[Column] = ()
    wide: Sequence[Column] = ()

    @property
    def by_row(self) -> bool:
        """Whether nothing but the columns of rows is shown."""
        return self.query is None and self.output in {"table", "wide", "csv", "name"}


def show_list(look: Look, rows: Iterable[Row]) -> None:
    """The rows of a list: an array, for `-o json` and for queries.

    What ends the rows early is raised behind those that were there before.
    """
    with _so_far(rows) as there:
        if look.query is not None:
            _show_found(look, _found(look.query, list(there)))
        elif look.output == "json":
            _echo(_json(list(there)))
        elif look.output == "yaml":
            _echo(_yaml(list(there)))
        else:
            _show_rows(look, there)


@contextmanager
def _so_far(rows: Iterable[Row]) -> Iterator[Iterator[Row]]:
    """The rows up to where they fail, which is raised at the end; at once if there is no row."""
    early: list[BaseException] = []
    rest = iter(rows)
    first = list(islice(rest, 1))

    def there() -> Iterator[Row]:
        yield from first
        try:
            yield from rest
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it is raised below
            early.append(error)

    yield there()
    if early:
        raise early[0]


def masked(look: Look, mask: str) -> Look:
    """With the columns of the fields that a read mask asks for, in its order."""
    paths = re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", mask).split(",")
    asked = [tuple(path.strip().split(".")) for path in paths]
    return look._replace(
        columns=_within(asked, look.columns, look.wide),
        wide=_within(asked, look.wide),
    )


def _within(asked: Sequence[tuple[str, ...]], *known: Sequence[Column]) -> list[Column]:
    """For each field its columns of the first that have some; else one for the field itself."""
    made: dict[tuple[str, ...], Column] = {}
    for path in asked:
        fits = (
            [each for each in columns if tuple(each.path[: len(path)]) == path] for columns in known
        )
        for column in next(filter(None, fits), [Column(path, "text")]):
            made.setdefault(tuple(column.path), column)
    return [*made.values()]


def show_answer(look: Look, answer: Row, rows: Sequence[Row]) -> None:
    """An answer: as a whole for `-o json` and for queries, else the objects in it."""
    if look.query is not None:
        _show_found(look, _found(look.query, answer))
    elif look.output in {"json", "jsonl"}:
        _echo(_json(answer) if look.output == "json" else json.dumps(answer, ensure_ascii=False))
    elif look.output == "yaml":
        _echo(_yaml(answer))
    else:
        _show_rows(look, rows)


def _show_rows(look: Look, rows: Iterable[Row]) -> None:
    match look.output:
        case "jsonl":
            lines: Iterable[str] = (json.dumps(row, ensure_ascii=False) for row in rows)
        case "name":
            lines = (text(row.get(look.id or look.name)) for row in rows)
        case "csv":
            lines = _csv(look.wide, rows)
        case _:
            wanted = look.wide if look.output == "wide" else look.columns
            lines = _table(wanted, rows) if wanted else ()
    for line in lines:
        _echo(line)


def _show_found(look: Look, found: Any) -> None:  # noqa: ANN401 - what a query finds
    """What a query has found: values by themselves, one on a line, where a table was wanted."""
    if look.output == "json":
        _echo(_json(found))
    elif look.output == "yaml":
        _echo(_yaml(found))
    elif look.output == "jsonl":
        for each in found if isinstance(found, list) else [found]:
            _echo(json.dumps(each, ensure_ascii=False))
    else:
        items = found if isinstance(found, list) else [] if found is None else [found]
        if items and all(isinstance(each, dict) for each in items):
            keys = dict.fromkeys(chain.from_iterable(items))
            columns = [Column((key,), "text") for key in keys]
            for line in _csv(columns, items) if look.output == "csv" else _table(columns, items):
                _echo(line)
        else:
            for each in items:
                _echo(text(each))


def _table(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """Aligned columns under a head; only the head where there are no rows."""
    lines = ([cell(row, column) or NOTHING for column in columns] for row in rows)
    first = [_titles(columns), *islice(lines, _MEASURED)]
    widths = [max(width(line[i]) for line in first) for i in range(len(columns))]
    for line in chain(first, lines):
        yield "  ".join(
            shown + " " * (wanted - width(shown))
            for shown, wanted in zip(line, widths, strict=True)
        ).rstrip()


def _csv(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    import csv
    import io

    for line in chain(
        [[".".join(column.path) for column in columns]],
        ([cell(row, column) for column in columns] for row in rows),
    ):
        held = io.StringIO()
        csv.writer(held, lineterminator="").writerow(line)
        yield held.getvalue()


def _titles(columns: Sequence[Column]) -> list[str]:
    """The last part of each path, and the part before where two have the same."""
    last = [column.title for column in columns]
    return [
        title if last.count(title) == 1 else ".".join(column.path).upper()
        for title, column in zip(last, columns, strict=True)
    ]


def checked(query: str | None) -> str | None:
    """Raises Failed for one that is none."""
    if query is not None:
        _compiled(query)
    return query


def _compiled(query: str) -> Any:  # noqa: ANN401 - jmespath has no types
    import jmespath

    try:
        return jmespath.compile(query)
    except jmespath.exceptions.JMESPathError as error:
        raise Failed(
            f"--query {query!r} is no JMESPath ({' '.join(str(error).split())}). How it is written:"
            " https://jmespath.org",
            USAGE,
        ) from error


def _found(query: str, data: object) -> Any:  # noqa: ANN401 - as above
    import jmespath

    try:
        return _compiled(query).search(data)
    # A comparison of a number and a text, say, is a bare TypeError.
    except (jmespath.exceptions.JMESPathError, TypeError) as error:
        raise Failed(f"--query cannot be answered: {error}", USAGE) from error


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _yaml(value: object) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).rstrip("\n")


def _echo(line: str) -> None:
    click.echo(line, file=sys.stdout)
