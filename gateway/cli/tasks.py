"""`cbr-gateway tasks`: a caller of a running gateway, at a terminal or in a script.

It stands on the client package, as any other caller.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    import grpc
    from cbrgateway.v1.task_pb2 import WatchTasksRequest, WatchTasksResponse
    from cbrgateway_client import CallError

    from gateway.cli.bars import Bars
    from gateway.cli.progress import Lines

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NOT_ALL_SUCCEEDED: Final = 1
_NO_ANSWER: Final = 3
_KEY_VARIABLE: Final = "CBR_API_KEY"
_PLAIN: Final = "The call used TLS: for a gateway that takes plain text, add --plaintext."
_TLS: Final = "The call used plain text: for a gateway that wants TLS, leave out --plaintext."


@click.group()
def tasks() -> None:
    """What CBR is doing: asks a running gateway."""


def _reaching(command: _Command) -> _Command:
    """The options that say where the gateway is and who asks."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
    options = (
        click.option(
            "--address",
            default="127.0.0.1:50051",
            show_default=True,
            metavar="HOST:PORT",
            help="Address of the gateway.",
        ),
        click.option(
            "--api-key-file",
            type=file,
            help=(
                "File with the API key or token; else it is taken from the environment:"
                f" {_KEY_VARIABLE}."
            ),
        ),
        click.option(
            "--project",
            "project_id",
            default="",
            metavar="ID",
            help="Project to act in, for tenants that have several.",
        ),
        click.option(
            "--plaintext", is_flag=True, help="Do not encrypt, for a gateway on this machine."
        ),
        click.option("--ca-file", type=file, help="Authorities (PEM) that vouch for the gateway."),
        click.option("--certificate-file", type=file, help="Certificate (PEM) of the caller."),
        click.option("--key-file", type=file, help="Its key (PEM)."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@tasks.command()
@click.option("--task", "task_ids", multiple=True, metavar="ID", help="This task; may be repeated.")
@click.option(
    "--submission",
    "submission_ids",
    multiple=True,
    metavar="ID",
    help="The tasks of this submission; may be repeated.",
)
@click.option("--vault", "vault_id", default="", metavar="ID", help="Tasks in this vault.")
@click.option("--json", "as_json", is_flag=True, help="One event per line, as JSON, for scripts.")
@click.option(
    "--reconnect-timeout",
    "reconnect_timeout_s",
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the gateway may be out of reach.",
)
@_reaching
def watch(
    task_ids: tuple[str, ...],
    submission_ids: tuple[str, ...],
    vault_id: str,
    as_json: bool,  # noqa: FBT001 - a flag of the command line
    reconnect_timeout_s: float,
    **reaching: Any,  # noqa: ANN401 - as declared in _reaching
) -> None:
    """Show tasks until all are final; without ids those that run now.

    Exit codes: 0 all succeeded; 1 one failed, timed out, was skipped or is unknown, or a resource
    was left out; 2 wrong usage; 3 the gateway refused or could not be reached.
    """
    from cbrgateway.v1 import task_pb2

    if task_ids and submission_ids:
        raise click.UsageError("--task and --submission cannot be combined.")
    chosen = task_pb2.TaskFilter(
        task_ids=task_ids, submission_ids=submission_ids, vault_id=vault_id
    )
    wanted = task_pb2.WatchTasksRequest(filter=chosen, end_when_all_terminal=True)
    with _channel(**reaching) as channel:
        _show(
            channel,
            wanted,
            reconnect_timeout_s,
            as_json=as_json,
            plaintext=reaching["plaintext"],
        )


def _show(
    channel: "grpc.Channel",
    wanted: "WatchTasksRequest",
    reconnect_timeout_s: float,
    *,
    as_json: bool,
    plaintext: bool,
) -> None:
    """Shows all events, and what came of them. Ends with the exit code for it."""
    from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
    from cbrgateway_client import CallError, watch_tasks

    from gateway.cli.progress import Tally

    tally, view = Tally(), _view()
    try:
        with view:
            for event in watch_tasks(
                TaskServiceStub(channel), wanted, reconnect_timeout_s=reconnect_timeout_s
            ):
                tally.count(event)
                if as_json:
                    _print_json(event)
                else:
                    view.show(event)
    except CallError as error:
        raise _refusal(error, plaintext=plaintext) from error
    if not as_json:
        click.echo(tally.summary())
    if not tally.all_succeeded:
        raise click.exceptions.Exit(_NOT_ALL_SUCCEEDED)


def _view() -> "Lines | Bars":
    """Bars where somebody looks, if the extra `bars` is installed."""
    from gateway.cli.progress import Lines

    if sys.stdout.isatty():
        try:
            from rich.console import Console

            from gateway.cli.bars import Bars
        except ImportError:
            return Lines()
        return Bars(Console())
    return Lines()


def _channel(
    *,
    address: str,
    api_key_file: Path | None,
    project_id: str,
    plaintext: bool,
    **files: Path | None,
) -> "grpc.Channel":
    import os

    from cbrgateway_client import Gateway

    from gateway.secret import cleaned, read_secret_file

    set_to = os.environ.get(_KEY_VARIABLE, "")
    try:
        credential = (
            read_secret_file(api_key_file)
            if api_key_file
            else set_to and cleaned(set_to, f"environment variable {_KEY_VARIABLE}")
        )
        gateway = Gateway(address, credential, project_id, plaintext, **files)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return gateway.channel()


def _print_json(event: "WatchTasksResponse") -> None:
    # The kinds of details that an error inside an event may hold must be known to be printed.
    from google.protobuf import json_format
    from google.rpc import error_details_pb2  # noqa: F401

    click.echo(json.dumps(json_format.MessageToDict(event, preserving_proto_field_name=True)))


def _refusal(error: "CallError", *, plaintext: bool) -> click.ClickException:
    import grpc

    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        return click.UsageError(str(error))
    unreached = error.code() is grpc.StatusCode.UNAVAILABLE and not error.reason_name
    return _Refused(f"{error}\n{_TLS if plaintext else _PLAIN}" if unreached else str(error))


class _Refused(click.ClickException):
    exit_code = _NO_ANSWER
