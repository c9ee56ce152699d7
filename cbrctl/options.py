"""The options that every command takes: where the gateway is, who calls, and how answers look."""

import math
import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from cbrctl import address, contexts
from cbrctl.contexts import Context
from cbrctl.failures import USAGE, Failed

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE: Final = click.Path()
_VARIABLES: Final = {
    "context": "CBRCTL_CONTEXT",
    "address": "CBR_ADDRESS",
    "plaintext": "CBR_PLAINTEXT",
    "project": "CBR_PROJECT",
}
FORMATS: Final = ("table", "wide", "json", "yaml", "jsonl", "name", "csv")


def reaching(*, hidden: bool = False) -> list[click.Parameter]:
    """Where the gateway is, and who calls it."""

    def option(*names: str, **more: Any) -> click.Option:  # noqa: ANN401 - as click has it
        return click.Option(names, hidden=hidden, **more)

    return [
        option(
            "--context",
            metavar="NAME",
            shell_complete=known_contexts,
            help="Context of `cbrctl config`. [CBRCTL_CONTEXT]",
        ),
        option(
            "--address",
            metavar="HOST:PORT",
            help=f"Address of the gateway. [CBR_ADDRESS; default: {address.DEFAULT}]",
        ),
        option(
            "--plaintext/--tls",
            default=None,
            help="Whether the connection is not encrypted. [CBR_PLAINTEXT; default: --tls]",
        ),
        option(
            "--project",
            metavar="ID",
            help="Project to act in, for tenants that have several. [CBR_PROJECT]",
        ),
        option(
            "--api-key-file",
            type=_FILE,
            help=f"File that holds the API key or token. [else: {contexts.KEY_VARIABLE}]",
        ),
        option("--ca-file", type=_FILE, help="Authorities (PEM) that vouch for the gateway."),
        option("--certificate-file", type=_FILE, help="Certificate (PEM) of the caller."),
        option("--key-file", type=_FILE, help="Its key (PEM)."),
    ]


def known_contexts(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """For completion; none of a file that cannot be used."""
    try:
        known = contexts.load()
    except ValueError:
        return []
    return [name for name in known.by_name if name.startswith(incomplete)]


class _Seconds(click.FloatRange):
    """More than none, and no more than a number says."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as click has it
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} must be a number of seconds", param, ctx)
        return found


def seconds(name: str, text: str, *more: str, default: float | None = None) -> click.Option:
    """An option for how long something may take."""
    return click.Option(
        [name, *more],
        type=_Seconds(min=0, min_open=True),
        metavar="SECONDS",
        default=default,
        show_default=default is not None,
        help=text,
    )


def taking(*parameters: click.Parameter) -> Callable[[Command], Command]:
    """Parameters as a decorator."""

    def attach(command: Command) -> Command:
        for parameter in reversed(parameters):
            _attach(command, parameter)
        return command

    return attach


def showing() -> list[click.Parameter]:
    """How an answer looks."""
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(FORMATS),
            default="table",
            show_default=True,
            help="How the answer is shown.",
        ),
        click.Option(["--query"], metavar="JMESPATH", help="Show what this finds in the answer."),
    ]


def context_of(ctx: click.Context) -> Context:
    """The context that the options name, here or before the command, or else the environment.

    Raises Failed for one that cannot be used.
    """
    keys = [str(each.name) for each in reaching()]
    try:
        given = {key: _given(ctx, key) for key in keys}
        return contexts.chosen(given.pop("context") or "", given)
    except ValueError as error:
        raise Failed(str(error), USAGE) from error


def _given(ctx: click.Context, key: str) -> Any:  # noqa: ANN401 - as the option has it
    at: click.Context | None = ctx
    while at is not None:
        if at.params.get(key) is not None:
            return at.params[key]
        at = at.parent
    text = os.environ.get(_VARIABLES.get(key, ""), "")
    if key == "plaintext" and text:
        try:
            return click.BOOL.convert(text, None, None)
        except click.BadParameter as error:
            raise ValueError(
                f"{_VARIABLES[key]} is {text!r}. Set it to 1 for plain text, to 0 for TLS"
            ) from error
    return text or None


def _attach(command: Any, parameter: click.Parameter) -> None:  # noqa: ANN401 - a function to be a command
    # As click's own decorators do it.
    if not hasattr(command, "__click_params__"):
        command.__click_params__ = []
    command.__click_params__.append(parameter)
