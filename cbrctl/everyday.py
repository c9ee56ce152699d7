"""What people do every day, in fewer words than the RPCs take: back up, restore, limits."""

from typing import Any, Final

import click

from cbrctl import index
from cbrctl.fields import Named
from cbrctl.index import Verb
from cbrctl.options import Command, taking_reach, taking_show

_WAIT: Final = click.option("--wait", is_flag=True, help="Follow the work to its end.")
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Check, and change nothing.")
_REQUEST_ID: Final = click.option(
    "--request-id", metavar="ID", help="The id of the change, to repeat it without making it twice."
)


def _making_a_change(command: Command) -> Command:
    """The options of each command here that changes something and may start work."""
    for option in (taking_reach, taking_show, _WAIT, _REQUEST_ID, _DRY_RUN):
        command = option(command)
    return command


@click.group()
def backup() -> None:
    """Back up a vault now. For what was backed up: `cbrctl backups`."""


@backup.command("now")
@click.argument("vault", metavar="VAULT", type=Named("vaults"))
@click.option(
    "--resource", "resources", multiple=True, metavar="ID", help="Only this one; may be repeated."
)
@click.option("--name", metavar="NAME", help="Name of the backup. CBR makes one if it is left out.")
@click.option("--full", is_flag=True, help="Save everything, not only what changed since the last.")
@_making_a_change
@click.pass_context
def now(ctx: click.Context, /, vault: str, **typed: Any) -> None:  # noqa: ANN401 - as declared above
    """Back up the resources of a vault (id or name) now."""
    verb = index.verb(*index.place("CheckpointService/CreateCheckpoint"))
    parameters = {
        **({"resource_ids": [*typed["resources"]]} if typed["resources"] else {}),
        **({"name": typed["name"]} if typed["name"] else {}),
        **({"incremental": False} if typed["full"] else {}),
    }
    spec = {"vault_id": vault, **({"parameters": parameters} if parameters else {})}
    with _reached(ctx, verb) as (transport, how):
        from cbrctl.names import resolved
        from cbrctl.run import carry_out

        spec["vault_id"] = resolved(transport, "vaults", vault)
        carry_out(verb, _identified({"checkpoint": spec}, typed), how, transport)


@click.command()
@click.argument("backup", metavar="BACKUP", type=Named("backups"))
@click.option(
    "--to",
    "target",
    metavar="ID",
    help="Server or disk to overwrite.  [default: the one that was backed up]",
)
@click.option("--no-power-on", is_flag=True, help="Leave the server off afterwards.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask whether to do it.")
@_making_a_change
@click.pass_context
def restore(ctx: click.Context, /, backup: str, **typed: Any) -> None:  # noqa: ANN401 - as declared above
    """Overwrite a server or disk with a backup (id or name)."""
    verb = index.verb(*index.place("BackupService/RestoreBackup"))
    with _reached(ctx, verb) as (transport, how):
        from cbrctl.names import resolved
        from cbrctl.run import carry_out

        backup_id = resolved(transport, "backups", backup)
        found = transport.call("BackupService/GetBackup", {"backup_id": backup_id})["backup"]
        field = {"OS::Nova::Server": "server_id", "OS::Cinder::Volume": "volume_id"}
        spec: dict[str, Any] = {
            field.get(found["resource_type"], "resource_id"): typed["target"]
            or found["resource_id"]
        }
        if typed["no_power_on"]:
            spec["power_on"] = False
        click.echo(
            f"Backup of {found['resource_name']} from {found.get('create_time', '?')}", err=True
        )
        request = {"backup_id": backup_id, "restore": spec}
        carry_out(verb, _identified(request, typed), how, transport)


@click.command()
@taking_show
@taking_reach
@click.pass_context
def quota(ctx: click.Context, /, **_: object) -> None:
    """Show how much of each limit is used."""
    from cbrctl.run import run
    from cbrctl.verbs import how

    verb = index.verb(*index.place("QuotaService/ListUsages"))
    run(verb, {}, how(ctx, verb))


def _reached(ctx: click.Context, verb: Verb) -> Any:  # noqa: ANN401 - a context manager of both
    from contextlib import contextmanager

    from cbrctl.run import reached
    from cbrctl.verbs import how

    @contextmanager
    def both() -> Any:  # noqa: ANN401 - as above
        made = how(ctx, verb)
        with reached(made.context, verb) as transport:
            yield transport, made

    return both()


def _identified(request: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    return request | ({"request_id": typed["request_id"]} if typed["request_id"] else {})
