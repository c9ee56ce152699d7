"""The question before what destroys or overwrites: what is done, to which object, and what goes
with it.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from cbrctl import index
from cbrctl.cells import cell
from cbrctl.failures import NOT_ALL_WELL, USAGE, Failed, Refusal
from cbrctl.index import Given, Verb
from cbrctl.transport import Transport
from cbrctl.validation import losses


def confirm(verb: Verb, request: Mapping[str, Any], transport: Transport) -> None:
    """Returns if the answer is yes. Raises Failed for no, and where nobody can be asked; Refusal
    where the gateway says already that it will refuse.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failed(f"{verb.short}. Nobody can be asked here whether to do it: add --yes.", USAGE)
    tried = (
        transport.call(verb.rpc, {**request, "validate_only": True}).get("validation", {})
        if verb.dry_run
        else {}
    )
    click.echo(f"{verb.short}.", err=True)
    for given in verb.arguments:
        click.echo(f"  {'  '.join(_told(given, str(request[given.path[0]]), transport))}", err=True)
    for line in losses(tried):
        click.echo(f"  {line}", err=True)
    if not click.confirm("Do it?", err=True):
        raise Failed("Nothing was done.", NOT_ALL_WELL)


def _told(given: Given, value: str, transport: Transport) -> Iterator[str]:
    """The object as it is now, as far as it can be read."""
    yield f"{given.name.lower()} {value}"
    reader = index.verb(given.group, "get") if given.group else None
    if reader is None or len(reader.arguments) != 1 or not reader.rows:
        return
    try:
        row = transport.call(reader.rpc, {reader.arguments[0].path[0]: value})[reader.rows]
    except Refusal as refusal:
        yield f"(cannot be read: {refusal.reason or refusal.code})"
        return
    for column in reader.columns:
        if list(column.path) != [reader.id] and (shown := cell(row, column)):
            yield f"{column.path[-1]} {shown}"
