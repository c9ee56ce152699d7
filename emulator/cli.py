"""`cbr-emulator`: the emulator as a program."""

from dataclasses import replace

import click

from emulator.server import serve_forever
from emulator.settings import ACCESS_KEY, DEFAULT_PROJECTS, SECRET_KEY, EmulatorSettings
from emulator.transitions import Mode, Pace


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=18774, show_default=True, help="Port to listen on.")
@click.option("--seed", default=1, show_default=True, help="Source of all generated ids.")
@click.option(
    "--auth/--no-auth", default=True, show_default=True, help="Check signatures and tokens."
)
@click.option(
    "--transitions",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.TIME.value,
    show_default=True,
    help="What makes asynchronous work advance.",
)
@click.option(
    "--duration", default=4.0, show_default=True, help="Seconds a task takes (transitions: time)."
)
@click.option(
    "--reads", default=3, show_default=True, help="Reads a task takes (transitions: reads)."
)
@click.option(
    "--strict-capacity", is_flag=True, help="Let vaults refuse resources beyond their size."
)
@click.option(
    "--throttle", type=int, default=None, help="Requests per second, project and operation."
)
@click.option("--freeze-clock", is_flag=True, help="Move emulator time only by the control API.")
@click.option("--empty", is_flag=True, help="Start without servers, disks and file shares.")
def main(
    *,
    host: str,
    port: int,
    seed: int,
    auth: bool,
    transitions: str,
    duration: float,
    reads: int,
    strict_capacity: bool,
    throttle: int | None,
    freeze_clock: bool,
    empty: bool,
) -> None:
    """Serve an emulated CBR v3 (and the few IAM calls around it) until interrupted."""
    settings = replace(
        EmulatorSettings(),
        seed=seed,
        auth=auth,
        pace=Pace(Mode(transitions), reads=reads, duration_s=duration),
        strict_capacity=strict_capacity,
        throttle_rps=throttle,
        freeze_clock=freeze_clock,
        seed_resources=not empty,
    )
    click.echo(f"access key {ACCESS_KEY}, secret key {SECRET_KEY}")
    for project in DEFAULT_PROJECTS:
        click.echo(f"project {project.id} {project.name} in {project.region}")
    serve_forever(host, port, settings)
