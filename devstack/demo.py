"""`cbr-gateway demo`: tells the life of a backup through a real gateway, step by step."""

import contextlib

import click


@click.command()
@click.option(
    "--address", metavar="HOST:PORT", help="A running `cbr-gateway dev`, instead of one of its own."
)
@click.option(
    "--task-seconds",
    default=4.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How long a backup takes in a gateway of its own.",
)
def demo(address: str | None, task_seconds: float) -> None:
    """Show a backup's life in gRPC calls: vault, backup, restore, share, mistakes."""
    from cbrgateway_client import CallError  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415 - `--help` answers without it

    from devstack.launch import launched  # noqa: PLC0415
    from devstack.screen import Screen  # noqa: PLC0415
    from devstack.story import tell  # noqa: PLC0415
    from devstack.surprise import Surprise  # noqa: PLC0415

    console = Console()
    with contextlib.ExitStack() as stack:
        try:
            if address is None:
                address = stack.enter_context(
                    launched("--task-seconds", str(task_seconds), "--log-level", "warning")
                ).address
            console.print(f"Gateway at {address}", highlight=False)
            tell(address, Screen(console))
        except (Surprise, RuntimeError) as failure:
            raise click.ClickException(str(failure)) from failure
        except CallError as error:
            raise click.ClickException(str(error)) from error
    console.print(
        "\nDone: every step did what it should, and nothing is left behind.",
        style="bold green",
        highlight=False,
    )
