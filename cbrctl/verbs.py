"""From an RPC to its command: arguments and flags from the fields of its request."""

from typing import Any, Final

import click

from cbrctl.fields import type_of
from cbrctl.index import Column, Given, Verb
from cbrctl.options import context_of, reaching, seconds, showing
from cbrctl.output import Look, checked
from cbrctl.request import parameter

_EPILOG: Final = (
    "Where the gateway is and who calls it: see the options of `cbrctl --help`, which every command"
    " takes, too."
)
_FILE: Final = click.Path(allow_dash=True)


def command(name: str, verb: Verb) -> click.Command:
    @click.pass_context
    def callback(ctx: click.Context, /, **typed: Any) -> None:  # noqa: ANN401 - as declared below
        from cbrctl.run import run

        run(verb, typed, how(ctx, verb))

    return click.Command(
        name,
        params=[
            *(_argument(each) for each in verb.arguments),
            *(_flag(each) for each in verb.flags),
            click.Option(
                ["-f", "--file"], type=_FILE, help="Request in YAML or JSON; `-`: standard input."
            ),
            *options(verb),
        ],
        callback=callback,
        help=verb.help,
        short_help=verb.short,
        epilog=_EPILOG,
    )


def how(ctx: click.Context, verb: Verb) -> Any:  # noqa: ANN401 - a How, which is loaded when it is made
    """How the call is made, by the options of a command."""
    from cbrctl.run import How

    given = ctx.params
    return How(
        look_of(given["output"], given["query"], verb, projects=given.get("all_projects", False)),
        context_of(ctx),
        given.get("file"),
        given.get("deadline"),
        given.get("limit"),
        given.get("all_projects", False),
        given.get("dry_run", False),
        given.get("yes", False),
        given.get("wait", False),
        given.get("timeout"),
    )


def look_of(output: str, query: str | None, verb: Verb, *, projects: bool = False) -> Look:
    of_project = [Column(("project_id",), "text")] if projects else []
    return Look(
        output,
        checked(query),
        verb.id,
        verb.name,
        [*of_project, *verb.columns],
        [
            *of_project,
            *(each for each in verb.wide if not projects or list(each.path) != ["project_id"]),
        ],
    )


def _argument(given: Given) -> click.Argument:
    # What is missing is said together, and may stand in the file.
    return click.Argument(
        [parameter(given)], required=False, metavar=given.name, type=type_of(given)
    )


def _flag(given: Given) -> click.Option:
    name = f"--{given.name}"
    switch = given.kind == "bool" and not given.many
    return click.Option(
        [f"{name}/--no-{given.name}" if switch else name, parameter(given)],
        type=None if switch else type_of(given),
        default=None,
        multiple=given.many,
        help=f"{given.help}{' May be repeated.' if given.many else ''}"
        f"{'  [required]' if given.required else ''}",
    )


def options(verb: Verb) -> list[click.Parameter]:
    """All that a command takes beside its request, by what the RPC does."""
    usual = "none for a stream" if verb.stream else "20 for a read, 60 for a change"
    made = [seconds("--deadline", f"How long the call may take.  [default: {usual}]")]
    if verb.pages or verb.stream:
        made.append(
            click.Option(
                ["--limit"], type=click.IntRange(min=1), help="Show at most this many rows."
            )
        )
    if verb.pages:
        made.append(_switch("Ask every project of the context.", "--all-projects"))
    if verb.dry_run:
        made.append(_switch("Check, and change nothing.", "--dry-run"))
    if verb.confirm:
        made.append(_switch("Do not ask whether to do it.", "-y", "--yes"))
    if verb.work:
        made.append(_switch("Follow the work to its end.", "--wait"))
        made.append(
            seconds("--timeout", "How long --wait follows the work, which goes on without it.")
        )
    return [*made, *showing(), *reaching(hidden=True)]


def _switch(text: str, *names: str) -> click.Option:
    return click.Option(names, is_flag=True, help=text)
