"""The command `cbr-gateway`. Exit codes: 0 fine, 1 a problem was found, 2 wrong usage.

Other packages add commands through the entry point group `cbr_gateway.commands`; one that cannot be
loaded says so when it is called, and disturbs nothing else.
"""

import json
from typing import TYPE_CHECKING

import click

from gateway.cli.audit import audit
from gateway.cli.check import check
from gateway.cli.config import config
from gateway.cli.events import events
from gateway.cli.explain import bindings, explain
from gateway.cli.grouping import Group
from gateway.cli.healthcheck import healthcheck
from gateway.cli.keys import keys
from gateway.cli.openapi import openapi
from gateway.cli.record import record
from gateway.cli.serve import serve
from gateway.extras import not_installed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

_PLUGINS = "cbr_gateway.commands"


class _Commands(Group):
    """The built-in commands and those of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_plugins().names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = super().get_command(ctx, cmd_name)
        if known is not None:
            return known
        return next((_plugin(entry) for entry in _plugins() if entry.name == cmd_name), None)

    def invoke(self, ctx: click.Context) -> object:
        """A library that is not there ends a command with a sentence."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            name = ctx.invoked_subcommand or ""
            plugin = next((entry for entry in _plugins() if entry.name == name), None)
            if not (text := not_installed(error, *_package(plugin))):
                raise
            raise click.ClickException(f"`{name}` {text}") from error


def _plugins() -> "EntryPoints":
    from importlib.metadata import entry_points  # reads the names of all packages

    return entry_points(group=_PLUGINS)


def _package(entry: "EntryPoint | None") -> tuple[str, ...]:
    """The name of the package that adds a command; empty of what is our own."""
    return (entry.dist.name,) if entry is not None and entry.dist is not None else ()


def _plugin(entry: "EntryPoint") -> click.Command:
    """The command of another package, or one that tells why there is none."""
    try:
        command = entry.load()
    except ModuleNotFoundError as error:
        reason = not_installed(error, *_package(entry)) or f"cannot be loaded: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a foreign package does while it is imported
        reason = f"cannot be loaded: {type(error).__name__}: {error}"
    else:
        if isinstance(command, click.Command):
            return command
        reason = f"cannot be loaded: {entry.value} is not a click command"

    def fail() -> None:
        raise click.ClickException(f"`{entry.name}` {reason}")

    return click.Command(entry.name, callback=fail, help=f"({reason})", short_help=f"({reason})")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cbr-gateway", message="%(prog)s %(version)s")
def main() -> None:
    """CBR Gateway: Huawei Cloud Backup and Recovery over gRPC."""


@main.command("version")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def show_version(*, as_json: bool) -> None:
    """Print the version of the gateway and of what it stands on."""
    from gateway.admin.version import versions

    known = versions()
    if as_json:
        click.echo(json.dumps(known))
        return
    own = known.pop("version")
    click.echo(f"cbr-gateway {own} ({', '.join(f'{name} {at}' for name, at in known.items())})")


for _each in (
    serve,
    check,
    record,
    config,
    keys,
    audit,
    events,
    bindings,
    explain,
    healthcheck,
    openapi,
):
    main.add_command(_each)
