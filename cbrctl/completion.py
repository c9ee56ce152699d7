"""Completion in shells: the script that a shell loads, and the ids that the gateway knows."""

import click
from click.shell_completion import CompletionItem

_SHELLS = ("bash", "zsh", "fish")
_MOST = 50
_DEADLINE_S = 2.0


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
    from itertools import islice

    from cbrctl import index, names
    from cbrctl.options import context_of
    from cbrctl.run import reached

    lister = index.lister(group)
    if lister is None:
        return []
    found = []
    try:
        with reached(context_of(ctx)) as transport:
            for row in islice(
                names.rows(transport, lister, {}, page_size=_MOST, deadline_s=_DEADLINE_S), _MOST
            ):
                own, name = str(row[lister.id]), str(row.get(lister.name, ""))
                if own.startswith(incomplete):
                    found.append(CompletionItem(own, help=name or None))
                elif name.startswith(incomplete) and name.isprintable() and " " not in name:
                    found.append(CompletionItem(name, help=own))
    except click.ClickException:
        return []
    return found
