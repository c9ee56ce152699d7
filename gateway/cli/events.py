"""`cbr-gateway events`: what was not delivered, and the form of events."""

import asyncio
import datetime as dt
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gateway.cli.grouping import Group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gateway.config import Config
    from gateway.events.dead import Resent
    from gateway.events.letters import DeadLetter
    from gateway.state import Store

T = TypeVar("T")
_IN_MEMORY = (
    'state.path is ":memory:": dead letters are in the memory of the running gateway, and end with'
    " it. Its log names each (`an event was given up`), and the metric cbr_dead_events tells how"
    " many there are. To list and resend them, set state.path to a file, or state.url to a Valkey"
)
_IN_USE = (
    "If its gateway is running: a store in a file is open in one process only. Stop the gateway,"
    " run this, and start it again; what waits in its queues is kept. A Valkey can be read at any"
    " time"
)
_config = click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="CBR_GATEWAY_CONFIG",
    required=True,
    help="The gateway's YAML file [env: CBR_GATEWAY_CONFIG].",
)
_sink = click.option("--sink", default="", metavar="NAME", help="Only those of this sink.")


@click.group(cls=Group)
def events() -> None:
    """Events that sinks did not take, and the form of events."""


@events.command()
@_config
@_sink
@click.option("--json", "as_json", is_flag=True, help="The events themselves, one a line.")
def dead(config_file: Path, sink: str, *, as_json: bool) -> None:
    """List the events that were given up, oldest first."""

    async def found(config: "Config", store: "Store") -> "list[tuple[str, str, DeadLetter]]":
        from gateway.events.dead import dead_letters

        names = [each.name for each in config.events.sinks]
        letters = [each async for each in dead_letters(store.queues, [sink] if sink else names)]
        if sink and sink not in names:
            # One that was removed from the configuration may have left some.
            if not letters:
                raise _no_sink(sink, names)
            click.echo(f"{sink} is no sink of this configuration now", err=True)
        return letters

    letters = _with_store(config_file, found)
    for name, event_id, each in letters:
        if as_json:
            click.echo(each.letter.body.decode(errors="replace"))
            continue
        moment = dt.datetime.fromtimestamp(each.given_up_at, dt.UTC).isoformat(timespec="seconds")
        click.echo(f"{moment}  {name}  {each.letter.type}  {event_id}  {each.why}")
    if not letters and not as_json:
        click.echo("There are no dead letters.")


@events.command()
@_config
@_sink
def resend(config_file: Path, sink: str) -> None:
    """Put the events that were given up into the queues again."""

    async def moved(config: "Config", store: "Store") -> "list[Resent]":
        from gateway.clock import SystemClock
        from gateway.events.dead import resend as again

        names = [each.name for each in config.events.sinks]
        if sink and sink not in names:
            raise _no_sink(sink, names)
        most, now = config.events.max_queued, SystemClock().time()
        return [await again(store.queues, each, most, now) for each in ([sink] if sink else names)]

    told = _with_store(config_file, moved)
    click.echo(f"{sum(each.sent for each in told)} events are in the queues again.")
    left = [text for each in told for text in _left(each)]
    if left:
        raise click.ClickException("\n".join(left))


def _left(resent: "Resent") -> "Iterator[str]":
    """Why dead letters of a sink were not sent again, and what to do."""
    if resent.no_room:
        yield (
            f"{resent.no_room} events of {resent.sink} are dead letters still: its queue is full"
            " (events.max_queued). Resend them once the sink has taken some, or raise max_queued"
        )
    if resent.unreadable:
        yield (
            f"{resent.unreadable} events of {resent.sink} are dead letters still: another version"
            " wrote them. `cbr-gateway events dead --json` shows them"
        )


@events.command()
def schema() -> None:
    """Print the JSON Schema of an event."""
    from gateway.events.types import schema as of_event

    click.echo(json.dumps(of_event(), indent=2))


def _no_sink(sink: str, names: "list[str]") -> click.ClickException:
    known = f"They are {', '.join(names)}" if names else "It has none"
    return click.ClickException(f"{sink} is no sink of this configuration. {known}")


def _with_store(config_file: Path, work: "Callable[[Config, Store], Awaitable[T]]") -> T:
    from gateway.clock import SystemClock
    from gateway.config import ConfigError, read_layers, validated
    from gateway.state import StoreDown, open_store
    from gateway.state.settings import MEMORY

    async def opened(config: "Config") -> T:
        settings = config.state
        if settings.kind == "sqlite" and settings.path == MEMORY:
            raise click.ClickException(_IN_MEMORY)
        if settings.kind == "sqlite" and not settings.path.exists():
            raise click.ClickException(f"there is no store at state.path, {settings.path}")
        async with open_store(settings, SystemClock()) as store:
            return await work(config, store)

    try:
        return asyncio.run(opened(validated(read_layers(config_file, os.environ, {}), os.environ)))
    except ConfigError as problem:
        raise click.ClickException(str(problem)) from problem
    except StoreDown as down:
        raise click.ClickException(f"{down}. {_IN_USE}") from down
