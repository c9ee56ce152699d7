"""Completion in shells: the script that a shell loads, and the ids that the gateway knows."""

from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from cbrctl.contexts import Context
    from cbrctl.remembered import Named

_SHELLS: Final = ("bash", "zsh", "fish")
_OFFERED: Final = 50
_ASKED: Final = 1000
_DEADLINE_S: Final = 2.0


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options and ids.

    bash: eval "$(cbrctl completion bash)"; zsh: the same with zsh; fish: cbrctl completion fish |
    source. Put the line into the file that the shell reads at its start.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "cbrctl", "_CBRCTL_COMPLETE").source())


def objects(ctx: click.Context, group: str, incomplete: str) -> list[CompletionItem]:
    """Ids of the objects of a group, and names once some letters are there. None where the gateway
    cannot be asked: completion never says an error.
    """
    from cbrctl import remembered
    from cbrctl.options import context_of

    try:
        context = context_of(ctx)
        offered = _matching(remembered.ids(context, group) or (), incomplete)
        if not offered:
            known = _asked(context, group)
            remembered.remember(context, group, known)
            offered = _matching(known, incomplete)
    except click.ClickException:
        return []
    return offered


def _matching(known: "Named", incomplete: str) -> list[CompletionItem]:
    found = []
    for own, name in known:
        if own.startswith(incomplete):
            found.append(CompletionItem(own, help=name or None))
        elif name.startswith(incomplete) and name.isprintable() and " " not in name:
            found.append(CompletionItem(name, help=own))
    return found[:_OFFERED]


def _asked(context: "Context", group: str) -> "Named":
    """What the gateway has, as far as it tells in a short time."""
    from itertools import islice, takewhile
    from time import monotonic

    from cbrctl import index, names
    from cbrctl.reports import LeftOut
    from cbrctl.run import reached

    lister = index.lister(group)
    if lister is None:
        return ()
    end = monotonic() + _DEADLINE_S
    masked = any(each.kind == "mask" and each.path == ["read_mask"] for each in lister.flags)
    wanted = {"read_mask": ",".join(filter(None, (lister.id, lister.name)))} if masked else {}
    with reached(context, deadline_s=_DEADLINE_S) as transport:
        rows = names.rows(transport, lister, wanted, LeftOut())
        return [
            (str(row[lister.id]), str(row.get(lister.name, "")))
            for row in islice(takewhile(lambda _: monotonic() < end, rows), _ASKED)
        ]
