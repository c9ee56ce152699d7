"""`cbr-gateway audit`: to verify a log, to read it, and to search it.

None of them needs a gateway, or a configuration.
"""

import itertools
import json
import re
import time
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.grouping import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.audit.query import Query, Row
    from gateway.audit.segments import SegmentFile, Unreadable

_AGE: Final = re.compile(r"([0-9]+)([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_directory = click.argument(
    "directory", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
_json_lines = click.option(
    "--json", "as_json", is_flag=True, help="The records themselves, one JSON object a line."
)


def _given(_context: click.Context, option: click.Parameter, value: str) -> str:
    """An empty variable of a script must not widen a search. Raises BadParameter."""
    if value == "":
        raise click.BadParameter("it is empty. Give a value, or leave the option out", param=option)
    return value or ""


_filter = partial(click.option, callback=_given)
_FILTERS: Final = (
    _filter("--tenant", help="Records of this tenant."),
    _filter(
        "--operation",
        metavar="TEXT",
        help="Records of RPCs whose name holds the text, such as DeleteVault.",
    ),
    _filter(
        "--principal",
        metavar="NAME",
        help="Records of this caller, and of its work; NAME or TENANT/NAME, as it is shown.",
    ),
    click.option(
        "--outcome",
        "outcomes",
        multiple=True,
        metavar="WORD",
        help="Records of what ended so: succeeded, failed, timed_out, partly_failed, skipped,"
        " gone, other, refused, pending or unknown; may be given several times.",
    ),
    _filter(
        "--resource",
        metavar="ID",
        help="Records about the object of this id, and about the deletion of the vault that it"
        " was in.",
    ),
    _filter(
        "--call",
        "uid",
        metavar="ID",
        help="All records of one call: the id in its trailer x-request-id.",
    ),
    _filter(
        "--since",
        metavar="TIME",
        help="Records since a time, such as 2026-11-23T08:00Z, or of the last 90m, 12h, 7d: of what"
        " was written down, or of work that ended, since then.",
    ),
    _filter("--until", metavar="TIME", help="Records before a time, written as for --since."),
    click.option("--own", is_flag=True, help="Also the records in which the log speaks of itself."),
)


def _filtered(command: "Callable[..., None]") -> "Callable[..., None]":
    """A command with all filters of records as options; `_wish` makes a query of their values."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group(cls=Group)
def audit() -> None:
    """Verify, read and search audit logs."""


@audit.command()
@_directory
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File with the log's key, audit.key.",
)
@click.option(
    "--writer",
    "writers",
    multiple=True,
    metavar="NAME",
    help="Only this log; may be given several times.",
)
@click.option(
    "--anchors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with its anchors, or a log that holds them.",
)
def verify(directory: Path, key_file: Path, writers: tuple[str, ...], anchors: Path | None) -> None:
    """Check that every record is there, in order, and as it was written; name the first that is
    not.
    """
    from gateway.audit.anchors import AnchorFile
    from gateway.audit.chain import Keys
    from gateway.audit.verify import verify as verified
    from gateway.secret import read_secret_file

    try:
        keys = Keys.of(read_secret_file(key_file))
        known = AnchorFile(anchors).read() if anchors is not None else []
        verdicts = verified(directory, keys, known, writers)
    except ValueError as error:
        raise click.ClickException(f"{error}. Name the file that audit.key names") from error
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from error
    for each in verdicts:
        click.echo(
            f"{each.writer}: BAD  {each.bad}"
            if each.bad
            else f"{each.writer}: good, {each.records} records, the last is {each.head.sequence}"
        )
        for note in each.notes:
            click.echo(f"  {note}")
    if not verdicts:
        raise click.ClickException(f"{directory} holds no {'such ' if writers else ''}log")
    if anchors is not None and not known:
        raise click.ClickException(
            f"{anchors} holds no anchor. Give the file that audit.anchors names, or what `audit"
            " anchors` prints"
        )
    if not known:
        click.echo(
            "Without anchors nobody sees whether the end of a log was cut off: give --anchors"
        )
    if any(each.bad for each in verdicts):
        raise click.exceptions.Exit(1)


@audit.command()
@_directory
@click.option(
    "--lines",
    "-n",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many of the last records to begin with.",
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@_filtered
@_json_lines
def tail(*, directory: Path, lines: int, follow: bool, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401 - as click gives them
    """Show the last records; every filter narrows them."""
    from gateway.audit import query as records

    with _unreadable() as unreadable:
        if not follow:
            _holding_a_log(directory)
        wish = records.completed(directory, _wish(**wanted))
        news = records.follow(directory, wish) if follow else ()
        last = records.last_rows(directory, lines, unreadable, wish) if lines else ()
        _show(last, as_json=as_json)
        _show(news, as_json=as_json)


@audit.command()
@_directory
@_filtered
@_json_lines
def query(*, directory: Path, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401 - as click gives them
    """Search the records; every option narrows the search."""
    from gateway.audit import query as records

    read = itertools.count()
    with _unreadable() as unreadable:
        _holding_a_log(directory)
        wish = records.completed(directory, _wish(**wanted))
        found = records.rows(directory, wish, unreadable, lambda: next(read))
        if not _show(found, as_json=as_json):
            click.echo(f"no record matches ({next(read)} read)", err=True)


@audit.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="CBR_GATEWAY_CONFIG",
    required=True,
    help="The gateway's YAML file [env: CBR_GATEWAY_CONFIG].",
)
def anchors(config_file: Path) -> None:
    """Print the last anchor of each log that the gateway's store keeps, for `verify --anchors`."""
    import asyncio
    import os

    from gateway.audit.anchors import anchors_in, line_of
    from gateway.clock import SystemClock
    from gateway.config import ConfigError, read_layers, validated
    from gateway.state import StoreDown, StoreSettings, open_store

    async def kept(settings: StoreSettings) -> "Iterable[bytes]":
        if settings.kind == "sqlite" and not settings.path.exists():
            raise StoreDown(f"there is no store at state.path, {settings.path}")
        async with open_store(settings, SystemClock()) as store:
            return (await store.anchors.all()).values()

    try:
        found = asyncio.run(
            kept(validated(read_layers(config_file, os.environ, {}), os.environ).state)
        )
    except ConfigError as problem:
        raise click.ClickException(str(problem)) from problem
    except StoreDown as down:
        raise click.ClickException(
            f"{down}. A store in a file can be read while its gateway does not run"
        ) from down
    anchors = list(anchors_in(found))
    for each in anchors:
        click.echo(line_of(each), nl=False)
    if not anchors:
        raise click.ClickException(
            "the store keeps no anchors. Is it the one that the gateway uses, and has the gateway"
            " audited into files?"
        )


@audit.command()
def schema() -> None:
    """Print the JSON Schema of a record."""
    from gateway.audit.record import schema as of_record

    click.echo(json.dumps(of_record(), indent=2))


@contextmanager
def _unreadable() -> "Iterator[Unreadable]":
    """Names each file that cannot be read, once, and ends with exit code 1 if there was one: what
    is shown then is not all there is.
    """
    reported: set[str] = set()

    def unreadable(segment: "SegmentFile", error: OSError) -> None:
        if segment.path.name not in reported:
            reported.add(segment.path.name)
            click.echo(
                f"{segment.path} cannot be read: {error.strerror}. Its records are left out;"
                " `cbr-gateway audit verify` says more",
                err=True,
            )

    try:
        yield unreadable
    except BrokenPipeError:
        # Whoever reads what is shown has seen enough.
        raise
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or 'the log'} cannot be read: {error.strerror}"
        ) from error
    if reported:
        raise click.exceptions.Exit(1)


def _holding_a_log(directory: Path) -> None:
    """Raises ClickException."""
    from gateway.audit.segments import segments

    if not segments(directory):
        raise click.ClickException(f"{directory} holds no log")


def _wish(*, since: str, until: str, outcomes: tuple[str, ...], **wanted: Any) -> "Query":  # noqa: ANN401 - as click gives them
    """Raises BadParameter."""
    from gateway.audit.query import OUTCOMES, Query
    from gateway.operations.vault import DELETE_VAULT

    if wrong := set(outcomes) - set(OUTCOMES):
        raise click.BadParameter(
            f"{min(wrong)!r} is no outcome. Write one of {', '.join(OUTCOMES)}",
            param_hint="--outcome",
        )
    since_ms, until_ms = _moment(since, "--since"), _moment(until, "--until")
    if until_ms and since_ms >= until_ms:
        raise click.BadParameter(
            "it is not before --until, so that nothing lies between", param_hint="--since"
        )
    return Query(
        outcomes=outcomes, since=since_ms, until=until_ms, deletion=DELETE_VAULT.rpc, **wanted
    )


def _show(rows: "Iterable[Row]", *, as_json: bool) -> int:
    """How many were shown."""
    from gateway.audit.query import as_text

    shown = 0
    for shown, row in enumerate(rows, 1):  # noqa: B007 - how many is what is asked for
        click.echo(json.dumps(row, ensure_ascii=True) if as_json else as_text(row))
    return shown


def _moment(text: str, option: str) -> int:
    """Milliseconds since 1970. Raises BadParameter."""
    if not text:
        return 0
    if age := _AGE.fullmatch(text):
        return round((time.time() - int(age[1]) * _SECONDS[age[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time. Write it as 2026-11-23T08:00Z, or an age as 90m, 12h or 7d",
            param_hint=option,
        ) from None
    # Without a zone it is the local time of whoever asks.
    return round(moment.timestamp() * 1000)
