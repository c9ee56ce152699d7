"""Commands of one kind have the same options: what one of them takes the others take, too."""

import click
import pytest

from cbrctl import index
from cbrctl.main import main

SHORT_WAYS = {
    ("backup", "now"): "CheckpointService/CreateCheckpoint",
    ("restore",): "BackupService/RestoreBackup",
    ("quota",): "QuotaService/ListUsages",
    ("report", "protection"): "ProtectionService/GenerateReport",
    ("report", "summary"): "ProtectionService/GetProtectionSummary",
    ("report", "unprotected"): "ProtectionService/ListUnprotectedResources",
    ("report", "expiring"): "ProtectionService/ListExpiringBackups",
}
BY_HAND = {("tasks", "watch")}
"""It shows events in a way of its own."""


def commands(at=main, context=None, path=()):
    context = context or click.Context(main)
    if not isinstance(at, click.Group):
        yield path, [option for each in at.params for option in (*each.opts, *each.secondary_opts)]
        return
    for name in at.list_commands(context):
        inside = at.get_command(context, name)
        yield from commands(inside, click.Context(inside, parent=context), (*path, name))


FOUND = dict(commands())
CALLING = {path: options for path, options in FOUND.items() if "--context" in options}
OTHERS = {"explain", "config", "completion"}


def kinds(verb):
    """The options that commands have by what their RPC does."""
    yield from ("--deadline", "--output", "--query", "--address", "--project", "--api-key-file")
    if verb.pages or verb.stream:
        yield "--limit"
    if verb.pages:
        yield "--all-projects"
    if verb.work:
        yield from ("--wait", "--timeout")
    if verb.dry_run:
        yield "--dry-run"
    if verb.confirm:
        yield "--yes"
    if any(each.name == "request-id" for each in verb.flags):
        yield "--request-id"


def rpc_of(path):
    return index.verb(*(index.place(SHORT_WAYS[path]) if path in SHORT_WAYS else path))


def test_every_command_that_is_no_tool_calls_the_gateway():
    assert {path[0] for path in FOUND.keys() - CALLING.keys()} == OTHERS
    assert SHORT_WAYS.keys() | BY_HAND <= CALLING.keys()


@pytest.mark.parametrize("path", sorted(CALLING.keys() - BY_HAND), ids=" ".join)
def test_a_command_has_all_options_of_its_kind(path):
    missing = set(kinds(rpc_of(path))) - {*CALLING[path]}
    assert not missing
    if path not in SHORT_WAYS:
        assert "--file" in CALLING[path]


@pytest.mark.parametrize("path", FOUND, ids=" ".join)
def test_no_command_has_two_options_of_one_name(path):
    assert len({*FOUND[path]}) == len(FOUND[path])
