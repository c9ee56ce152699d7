"""The commands: those for every day, and one for each RPC, in groups by what it is about."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from cbrctl import index
from cbrctl.failures import telling_of_output
from cbrctl.grouping import Group
from cbrctl.options import reaching

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_BY_HAND: Final = {
    "backup": ("cbrctl.everyday", "backup", "Back up a vault now"),
    "restore": ("cbrctl.everyday", "restore", "Overwrite a server or disk with a backup"),
    "report": ("cbrctl.reporting", "report", "Report what is protected, and what is not"),
    "quota": ("cbrctl.everyday", "quota", "Show how much of each limit is used"),
    "explain": ("cbrctl.explain", "explain", "Explain a message, a field, an enum or a command"),
    "config": ("cbrctl.config", "config", "Name gateways once: contexts in a file"),
    "completion": ("cbrctl.completion", "completion", "Complete commands and ids in a shell"),
}
_VERBS_BY_HAND: Final = {("tasks", "watch"): ("cbrctl.tasks", "watch_command")}
_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Verbs(Group):
    """The commands of one service, each made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(index.verbs(str(self.name)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if by_hand := _VERBS_BY_HAND.get((str(self.name), cmd_name)):
            return _loaded(*by_hand)
        if cmd_name not in index.verbs(str(self.name)):
            return None
        from cbrctl.verbs import command

        return command(cmd_name, index.verb(str(self.name), cmd_name))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Without making each command for its first sentence, as below."""
        return _offered(self, ctx, incomplete, index.verbs(str(self.name)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, "Commands", index.verbs(str(self.name)))


class Root(Group):
    """All of them."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:  # noqa: ANN401 - as click has it
        with telling_of_output():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        with telling_of_output():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_BY_HAND, *index.groups()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if by_hand := _BY_HAND.get(cmd_name):
            return _loaded(*by_hand[:2])
        return group(cmd_name) if cmd_name in index.groups() else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        by_hand = {name: text for name, (*_, text) in _BY_HAND.items()}
        return _offered(self, ctx, incomplete, {**by_hand, **index.groups()})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write(formatter, "Every day", {name: text for name, (*_, text) in _BY_HAND.items()})
        _write(
            formatter,
            "The whole API",
            {
                name: text.partition(". ")[0].partition(".\n")[0]
                for name, text in index.groups().items()
            },
        )


def _offered(
    command: click.Command, ctx: click.Context, incomplete: str, commands: Mapping[str, str]
) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [
        *(
            CompletionItem(name, help=text)
            for name, text in commands.items()
            if name.startswith(incomplete)
        ),
        *click.Command.shell_complete(command, ctx, incomplete),
    ]


def group(name: str) -> Verbs:
    """The commands of a service, such as `tasks`."""
    return Verbs(name, help=index.groups()[name], context_settings=_SETTINGS)


def _loaded(module: str, name: str) -> click.Command:
    found = getattr(import_module(module), name)
    assert isinstance(found, click.Command)
    return found


def _write(formatter: click.HelpFormatter, title: str, rows: Any) -> None:  # noqa: ANN401 - name -> text
    limit = formatter.width - 6 - max(map(len, rows))
    with formatter.section(title):
        formatter.write_dl(
            [
                (name, text if len(text) <= limit else f"{text[: limit - 3]}...")
                for name, text in rows.items()
            ]
        )


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - a flag
    if wanted:
        from importlib.metadata import version

        click.echo(f"cbrctl {version('cbrctl')}")
        ctx.exit()


main = Root(
    "cbrctl",
    help="Huawei Cloud Backup and Recovery through CBR Gateway.",
    context_settings=_SETTINGS,
    params=[
        *reaching(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version.",
        ),
    ],
    callback=lambda **_: None,
    epilog=(
        "Exit codes: 0 done; 1 work has not ended well, or the answer was no; 2 wrong usage;"
        " 3 refused or not reached; 4 not known whether it was done; 5 not found; 130 interrupted."
    ),
)


def __getattr__(name: str) -> Verbs:
    """`tasks`, for `cbr-gateway tasks`, which is the same."""
    if name != "tasks":
        raise AttributeError(name)
    return group(name)
