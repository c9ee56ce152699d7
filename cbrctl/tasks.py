"""`cbrctl tasks watch`: it goes on through cuts, shows progress, and ends with the work."""

import sys

import click

from cbrctl.fields import Named
from cbrctl.options import context_of, reaching, seconds, taking


@click.command("watch")
@click.option(
    "--task",
    "task_ids",
    multiple=True,
    metavar="ID",
    type=Named("tasks"),
    help="This task; may be repeated.",
)
@click.option(
    "--submission",
    "submission_ids",
    multiple=True,
    metavar="ID",
    help="The tasks of this submission; may be repeated.",
)
@click.option(
    "--vault",
    "vault",
    default="",
    metavar="ID|NAME",
    type=Named("vaults"),
    help="Tasks in this vault.",
)
@click.option("--json", "as_json", is_flag=True, help="One event per line, as JSON, for scripts.")
@taking(
    seconds("--timeout", "How long to follow them; they go on without it.", "timeout_s"),
    seconds(
        "--reconnect-timeout",
        "How long the gateway may be out of reach.",
        "reconnect_timeout_s",
        default=30.0,
    ),
    *reaching(hidden=True),
)
@click.pass_context
def watch_command(
    ctx: click.Context,
    /,
    *,
    task_ids: tuple[str, ...],
    submission_ids: tuple[str, ...],
    vault: str,
    as_json: bool,
    timeout_s: float | None,
    reconnect_timeout_s: float,
    **_: object,
) -> None:
    """Show tasks until all are final; without ids those that run now.

    Exit codes: 0 all succeeded; 1 one failed, timed out, was skipped or is unknown, or a resource
    was left out, or --timeout is over; 2 wrong usage; 3 the gateway refused or could not be
    reached.
    """
    from cbrgateway.v1 import task_pb2

    from cbrctl.names import resolved
    from cbrctl.run import reached
    from cbrctl.waiting import watch

    if task_ids and submission_ids:
        raise click.UsageError("--task and --submission cannot be combined.")
    with reached(context_of(ctx)) as transport:
        wanted = task_pb2.WatchTasksRequest(
            filter=task_pb2.TaskFilter(
                task_ids=task_ids,
                submission_ids=submission_ids,
                vault_id=vault and resolved(transport, "vaults", vault),
            ),
            end_when_all_terminal=True,
        )
        watch(
            transport,
            wanted,
            out=sys.stdout,
            as_json=as_json,
            reconnect_timeout_s=reconnect_timeout_s,
            timeout_s=timeout_s,
        )
