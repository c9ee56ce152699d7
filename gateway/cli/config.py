"""`cbr-gateway config`."""

import json
from pathlib import Path

import click

from gateway.cli.grouping import Group
from gateway.cli.options import configured, loaded, reported


@click.group(cls=Group)
def config() -> None:
    """Show the configuration."""


@config.command("print")
@configured
def config_print(config_file: Path | None, **flags: object) -> None:
    """Print the effective configuration with the source of each value. Secrets stay hidden."""
    from gateway.config import shown

    with reported():
        click.echo(shown(*loaded(config_file, flags)), nl=False)


@config.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from gateway.config import Config

    click.echo(json.dumps(Config.model_json_schema(), indent=2))
