"""`cbr-gateway record`."""

from pathlib import Path

import click

from gateway.cli.check import surveyed
from gateway.cli.options import configured, reported, usable_now, within


@click.command()
@configured
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder that is empty or not there yet.",
)
@within(120.0, "all answers")
def record(config_file: Path | None, folder: Path, within_s: float, **flags: object) -> None:
    """Record what CBR answers to reads, as sanitised files for tests. Changes nothing."""
    from gateway.survey.fixtures import empty, fixtures, write

    with reported():
        config, _ = usable_now(config_file, flags)
    try:
        empty(folder)
        files = fixtures(surveyed(config, within_s))
        write(files, folder)
    except OSError as problem:
        raise click.ClickException(
            f"{folder}: {problem.strerror or problem}. Name a folder that is empty or not there yet"
        ) from problem
    click.echo(
        f"{len(files)} answers in {folder}. Ids, names, addresses and free text are replaced; look"
        " them over before you pass them on"
    )
