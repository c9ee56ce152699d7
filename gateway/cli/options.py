"""What commands that need a configuration have in common: their options, what they load, and how
mistakes are reported.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gateway.config import Config, Layers

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """click takes what is no number for one in any range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as click has it
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return found


def within(default_s: float, what: str) -> Callable[[_Command], _Command]:
    """How long a command may take for `what`."""
    return click.option(
        "--timeout",
        "within_s",
        type=Seconds(1, 3600),
        default=default_s,
        show_default=True,
        help=f"Seconds for {what}.",
    )


def configured(command: _Command) -> _Command:
    """The options that a configuration is made from; flags lie over the file and environment."""
    options = (
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            envvar="CBR_GATEWAY_CONFIG",
            help="YAML file [env: CBR_GATEWAY_CONFIG].",
        ),
        click.option("--listen", metavar="HOST:PORT", help="Address of the gRPC services."),
        click.option("--health-listen", metavar="HOST:PORT", help="Address of the health service."),
        click.option(
            "--workers", metavar="N", help="Processes that take the calls; `auto`: one per core."
        ),
        click.option("--reflection/--no-reflection", default=None, help="Offer server reflection."),
        click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def reported() -> Iterator[None]:
    """Turns the reports of mistakes into their text and exit code 1."""
    from gateway.config import ConfigError
    from gateway.upstream.catalog import DeclarationError

    try:
        yield
    except (ConfigError, DeclarationError) as report:
        raise click.ClickException(str(report)) from report


def loaded(config_file: Path | None, flags: dict[str, object]) -> "tuple[Config, Layers]":
    """The configuration and what it was made of. Raises ConfigError."""
    from gateway.config import (
        FILE_VARIABLE,
        FLAGS,
        ConfigError,
        Problem,
        read_layers,
        validated,
    )

    names = {key: flag.removeprefix("--").replace("-", "_") for key, flag in FLAGS.items()}
    overrides = {key: flags[name] for key, name in names.items() if flags[name] is not None}
    layers = read_layers(config_file, os.environ, overrides)
    try:
        return validated(layers, os.environ), layers
    except ConfigError as report:
        if config_file is not None:
            raise
        # The environment alone may be a configuration; where it is not, a forgotten file is the
        # likely cause.
        hint = (
            f"name one with --config FILE, or in the environment variable {FILE_VARIABLE}. Begin"
            " with a copy of config/example.yaml"
        )
        raise ConfigError(
            [Problem((), "no configuration file was given", hint), *report.problems],
            report.tenants_dir,
        ) from None


def usable_now(config_file: Path | None, flags: dict[str, object]) -> "tuple[Config, Layers]":
    """The configuration, its certificates looked at, too, and what it was made of.

    Raises ConfigError.
    """
    import datetime as dt

    from gateway.config import ConfigError, Problem
    from gateway.config.certificates import out_of_service

    config, layers = loaded(config_file, flags)
    found = out_of_service(config, dt.datetime.now(dt.UTC))
    if problems := [Problem(path, layers.source(path), text) for path, text in found]:
        raise ConfigError(problems)
    return config, layers
