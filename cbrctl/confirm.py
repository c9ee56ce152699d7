"""The question before what destroys or overwrites: what is done, to which object, and what goes
with it.
"""

import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from cbrctl import index
from cbrctl.cells import cell
from cbrctl.failures import NOT_ALL_WELL, USAGE, Failed, Refusal
from cbrctl.index import Given, Verb
from cbrctl.transport import Transport

_GO_WITH: Final = {
    ("VaultService/DeleteVault", "vault_id"): ("BackupService/ListBackups", "backups")
}
"""RPC and field -> the list of what is lost with the object, by the same field."""


def confirm(verb: Verb, request: dict[str, Any], transport: Transport) -> None:
    """Returns if the answer is yes. Raises Failed for no, and where nobody can be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Failed(f"{verb.short}. Nobody can be asked here whether to do it: add --yes.", USAGE)
    click.echo(f"{verb.short}.", err=True)
    for given in verb.arguments:
        for line in _told(verb, given, request, transport):
            click.echo(f"  {line}", err=True)
    if not click.confirm("Do it?", err=True):
        raise Failed("Nothing was done.", NOT_ALL_WELL)


def _told(verb: Verb, given: Given, request: dict[str, Any], transport: Transport) -> Iterator[str]:
    """The object as it is now, as far as it can be read; and how many others go with it."""
    value = str(request[given.path[0]])
    shown = [f"{given.name.lower()} {value}"]
    try:
        if given.group:
            shown += _described(given.group, value, transport)
        lost = _GO_WITH.get((verb.rpc, given.path[0]))
        if lost:
            answer = transport.call(lost[0], {given.path[0]: value, "page_size": 1})
            yield f"{answer.get('total_size', 'An unknown number of')} {lost[1]} go with it"
    except Refusal as refusal:
        shown.append(f"(cannot be read: {refusal.reason or refusal.code})")
    yield "  ".join(shown)


def _described(group: str, value: str, transport: Transport) -> list[str]:
    reader = index.verb(group, "get")
    if len(reader.arguments) != 1 or not reader.rows:
        return []
    row = transport.call(reader.rpc, {reader.arguments[0].path[0]: value}).get(reader.rows, {})
    return [
        f"{column.path[-1]} {shown}"
        for column in reader.columns
        if list(column.path) != [reader.id] and (shown := cell(row, column))
    ]
