"""`cbrctl config`: the file of contexts."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from cbrctl import address, contexts
from cbrctl.contexts import Context, Contexts
from cbrctl.failures import NOT_FOUND, USAGE, Failed
from cbrctl.grouping import Group
from cbrctl.options import known_contexts

_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group)
def config() -> None:
    """Name gateways once, with the ways to their credentials: contexts in a file.

    The file is ~/.config/cbrctl/config.toml, or what CBRCTL_CONFIG names.
    """


@config.command("set")
@click.argument("name", shell_complete=known_contexts)
@click.option("--address", metavar="HOST:PORT", help="Address of the gateway.")
@click.option("--plaintext/--tls", default=None, help="Whether the connection is not encrypted.")
@click.option("--project", metavar="ID", help="Project to act in; '' for the tenant's default one.")
@click.option("--api-key-env", metavar="NAME", help="Environment variable that holds the API key.")
@click.option("--api-key-file", type=_FILE, help="File that holds the API key or token.")
@click.option("--ca-file", type=_FILE, help="Authorities (PEM) that vouch for the gateway.")
@click.option("--certificate-file", type=_FILE, help="Certificate (PEM) of the caller.")
@click.option("--key-file", type=_FILE, help="Its key (PEM).")
def set_context(name: str, **given: Any) -> None:  # noqa: ANN401 - as declared above
    """Make a context, or change what is given of it. The first one is used from then on."""
    if not name.strip():
        raise click.UsageError("NAME is empty: give the context one, such as dev.")
    if given["address"] is not None:
        with _usable():
            address.checked(given["address"])
    known = _known()
    made = known.by_name.get(name, Context(name=name))._replace(
        **{key: _absolute(value) for key, value in given.items() if value is not None},
    )
    _write(Contexts(known.current or name, {**known.by_name, name: made}))
    click.echo(f"Context {name} is in {contexts.path()}{_in_use(known.current or name, name)}")


@config.command()
@click.argument("name", shell_complete=known_contexts)
def use(name: str) -> None:
    """Use this context where none is named."""
    known = _known()
    _write(Contexts(_there(known, name), known.by_name))
    click.echo(f"Context {name} is used now.")


@config.command("list")
def list_contexts() -> None:
    """Show the contexts. Credentials are named, never shown."""
    known = _known()
    for name, each in known.by_name.items():
        click.echo(f"{'*' if name == known.current else ' '} {name}  {_told(each)}")


@config.command()
@click.argument("name", shell_complete=known_contexts)
def delete(name: str) -> None:
    """Delete a context from the file. Nothing else is touched."""
    known = _known()
    _there(known, name)
    left = {other: each for other, each in known.by_name.items() if other != name}
    _write(Contexts("" if known.current == name else known.current, left))
    click.echo(f"Context {name} is deleted.")


def _absolute(value: Any) -> Any:  # noqa: ANN401 - as the option has it
    return str(value.absolute()) if isinstance(value, Path) else value


@contextmanager
def _usable() -> Iterator[None]:
    """What cannot be used ends the command."""
    try:
        yield
    except ValueError as error:
        raise Failed(str(error), USAGE) from error


def _known() -> Contexts:
    with _usable():
        return contexts.load()


def _there(known: Contexts, name: str) -> str:
    if name not in known.by_name:
        there = ", ".join(known.by_name) or "none"
        raise Failed(f"There is no context {name!r}; there is: {there}", NOT_FOUND)
    return name


def _in_use(current: str, name: str) -> str:
    return " and is used." if current == name else f". Use it with `cbrctl config use {name}`."


def _told(context: Context) -> str:
    credential = context.api_key_file or f"${context.api_key_env}"
    parts = [context.address, "plain text" if context.plaintext else "TLS", f"key {credential}"]
    if context.project:
        parts.append(f"project {context.project}")
    return "  ".join(parts)


def _write(known: Contexts) -> None:
    """As a whole or not at all: a new file takes the place of the old one."""
    lines = [f"current = {_toml(known.current)}"]
    for name, each in known.by_name.items():
        lines += ["", f"[contexts.{_toml(name)}]"]
        for field, value in each._asdict().items():
            if field != "name" and value != getattr(Context(), field):
                lines.append(f"{field} = {_toml(value)}")
    where = contexts.path()
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        new = where.with_name(f"{where.name}.{os.getpid()}")
        new.write_text("\n".join(lines) + "\n", "utf-8")
        new.replace(where)
    except OSError as error:
        raise Failed(f"{where} cannot be written: {error.strerror}") from error


def _toml(value: object) -> str:
    """Text of JSON is text of TOML."""
    return json.dumps(value if isinstance(value, bool) else str(value)).replace("\x7f", "\\u007f")
