"""`cbrctl explain`: what a message, a field, an enum or an RPC means, in the protos' words."""

import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from cbrctl import index
from cbrctl.failures import NOT_FOUND, USAGE, Failed

_WIDTH: Final = 100


def _known(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of messages and enums, and of fields behind a dot."""
    above, dot, start = incomplete.rpartition(".")
    if not dot:
        return [name for name in index.messages() if name.startswith(start)]
    first, *path = above.split(".")
    at = index.messages().get(first, {})
    for part in path:
        at = index.messages().get(at.get("fields", {}).get(part, {}).get("type", ""), {})
    return [f"{above}.{name}" for name in at.get("fields", {}) if name.startswith(start)]


@click.command()
@click.argument("what", metavar="NAME[.FIELD...]", shell_complete=_known)
@click.option(
    "--schema",
    "as_schema",
    is_flag=True,
    help="Print its JSON Schema, by which editors check and complete a file for -f.",
)
def explain(what: str, *, as_schema: bool) -> None:
    """Explain a message, a field, an enum or an RPC: VaultSpec.billing, VaultStatus, GetVault."""
    first, *path = what.split(".")
    known = index.messages()
    name = _message(first, known)
    if as_schema:
        _show_schema(name, path)
        return
    at = known[name]
    for part in path:
        field = at.get("fields", {}).get(part)
        if field is None:
            raise _unknown(f"{name} has no field {part!r}", part, at.get("fields", {}))
        click.echo(f"{name}.{part}: {_type(field)}")
        click.echo(_wrapped(field["help"], "  "))
        if field["type"] not in known:
            if part != path[-1]:
                raise Failed(f"{name}.{part} has no fields inside.", NOT_FOUND)
            return
        name, at = field["type"], known[field["type"]]
    for line in _described(name, at):
        click.echo(line)


def _show_schema(name: str, path: Sequence[str]) -> None:
    import json

    from cbrctl.schema import schema

    if path:
        raise Failed("--schema is of a whole message or RPC: leave out the fields.", USAGE)
    click.echo(json.dumps(schema(name), indent=2, ensure_ascii=False))


def _message(name: str, known: Mapping[str, Any]) -> str:
    """The message or enum of that name, in any case; of an RPC its request."""
    lower = name.lower()
    for each in (name, f"{name}Request"):
        for candidate in known:
            if candidate.lower() == each.lower():
                return candidate
    if lower in index.groups():
        shown = index.verb(lower, "list" if "list" in index.verbs(lower) else "get")
        return str(known[f"{shown.rpc.split('/')[1]}Response"]["fields"][shown.rows]["type"])
    raise _unknown(f"Nothing is named {name!r}", name, known)


def _unknown(text: str, name: str, known: Mapping[str, Any]) -> Failed:
    near = difflib.get_close_matches(name.lower(), [each.lower() for each in known], 3)
    named = [each for each in known if each.lower() in near]
    there = f"Near: {', '.join(named)}" if named else f"There is: {', '.join(known)}"
    return Failed(f"{text}. {there if len(there) < 10 * _WIDTH else ''}".rstrip(), NOT_FOUND)


def _described(name: str, at: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}{' (enum)' if 'values' in at else ''}"
    if at["help"]:
        yield _wrapped(at["help"], "  ")
    for word, value in (index.words(name) if "values" in at else {}).items():
        yield f"\n  {word} ({value})\n{_wrapped(at['values'][value], '      ')}"
    for field, facts in at.get("fields", {}).items():
        yield f"\n  {field}: {_type(facts)}\n{_wrapped(facts['help'], '      ')}"


def _type(field: Mapping[str, Any]) -> str:
    return f"{'list of ' if field.get('many') else ''}{field['type']}"


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
