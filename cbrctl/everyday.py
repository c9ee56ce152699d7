"""What people do every day, in fewer words than the RPCs take: back up, restore, limits."""

from typing import Any, Final

import click

from cbrctl import index
from cbrctl.fields import Named
from cbrctl.grouping import Group
from cbrctl.index import Verb
from cbrctl.options import taking
from cbrctl.verbs import command, how, options

_BACK_UP: Final = index.verb(*index.place("CheckpointService/CreateCheckpoint"))
_RESTORE: Final = index.verb(*index.place("BackupService/RestoreBackup"))
_REQUEST_ID: Final = click.option(
    "--request-id", metavar="ID", help="The id of the change, to repeat it without making it twice."
)


@click.group(cls=Group)
def backup() -> None:
    """Back up a vault now. For what was backed up: `cbrctl backups`."""


@backup.command("now")
@click.argument("vault", metavar="VAULT", type=Named("vaults"))
@click.option(
    "--resource", "resources", multiple=True, metavar="ID", help="Only this one; may be repeated."
)
@click.option("--name", metavar="NAME", help="Name of the backup. CBR makes one if it is left out.")
@click.option("--full", is_flag=True, help="Save everything, not only what changed since the last.")
@_REQUEST_ID
@taking(*options(_BACK_UP))
@click.pass_context
def now(ctx: click.Context, /, vault: str, **typed: Any) -> None:  # noqa: ANN401 - as declared above
    """Back up the resources of a vault (id or name) now."""
    parameters = {
        **({"resource_ids": [*typed["resources"]]} if typed["resources"] else {}),
        **({"name": typed["name"]} if typed["name"] else {}),
        **({"incremental": False} if typed["full"] else {}),
    }
    spec = {"vault_id": vault, **({"parameters": parameters} if parameters else {})}
    with _reached(ctx, _BACK_UP) as (transport, made):
        from cbrctl.names import resolved
        from cbrctl.run import carry_out

        spec["vault_id"] = resolved(transport, "vaults", vault)
        carry_out(_BACK_UP, _identified({"checkpoint": spec}, typed), made, transport)


@click.command()
@click.argument("backup", metavar="BACKUP", type=Named("backups"))
@click.option(
    "--to",
    "target",
    metavar="ID",
    help="Server or disk to overwrite.  [default: the one that was backed up]",
)
@click.option("--no-power-on", is_flag=True, help="Leave the server off afterwards.")
@_REQUEST_ID
@taking(*options(_RESTORE))
@click.pass_context
def restore(ctx: click.Context, /, backup: str, **typed: Any) -> None:  # noqa: ANN401 - as declared above
    """Overwrite a server or disk with a backup (id or name)."""
    with _reached(ctx, _RESTORE) as (transport, made):
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
        carry_out(_RESTORE, _identified(request, typed), made, transport)


quota: Final = command("quota", index.verb(*index.place("QuotaService/ListUsages")))


def _reached(ctx: click.Context, verb: Verb) -> Any:  # noqa: ANN401 - a context manager of both
    from contextlib import contextmanager

    from cbrctl.run import reached

    @contextmanager
    def both() -> Any:  # noqa: ANN401 - as above
        made = how(ctx, verb)
        with reached(made.context, verb, made.deadline_s) as transport:
            yield transport, made

    return both()


def _identified(request: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    return request | ({"request_id": typed["request_id"]} if typed["request_id"] else {})
