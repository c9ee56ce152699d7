"""`python -m benchmarks`: measures, prints one table, writes figures to benchmarks/results/."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from benchmarks import plan, report, slices, stream_floor, streams
from benchmarks.goals import verdicts

_RESULTS = Path(__file__).parent / "results"
_STREAMS = "streams"
_TREES = ("get", "list", "create")
"""Rows that can be held against another tree."""


@click.command()
@click.option(
    "--quick",
    is_flag=True,
    help="One short round of about a minute, to see that everything runs; its figures are rough.",
)
@click.option(
    "--only",
    type=click.Choice((*slices.ROWS, _STREAMS)),
    help="One row against what it is held against, in slices that take turns, in about a minute.",
)
@click.option(
    "--tree",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="With --only: another working tree, with its own .venv, whose gateway it is held against.",
)
def main(*, quick: bool, only: str | None, tree: Path | None) -> None:
    """Measure the gateway against what a caller would otherwise do.

    Takes up to five minutes and two cores.
    """
    if not sys.platform.startswith("linux"):
        raise click.ClickException(
            "the CPU time of other processes is read from /proc: run this on Linux, in a container"
            " for example"
        )
    if tree is not None:
        if only not in _TREES:
            raise click.UsageError(f"--tree needs --only with one of {', '.join(_TREES)}")
        if not (tree / ".venv/bin/python").exists():
            raise click.UsageError(f"{tree} has no .venv: run `make lint` there, which makes one")
    begun = time.monotonic()
    if only == _STREAMS:
        found = stream_floor.carry_out(_progress)
        click.echo("\n".join(report.goals(stream_floor.verdicts(found))))
        return
    if only is not None:
        for line in slices.lines(slices.carry_out(only, _progress, tree=tree)):
            click.echo(line)
        return
    run = plan.carry_out(plan.QUICK if quick else plan.FULL, _progress)
    goals = [*verdicts(run.rounds, run.start_s), *streams.verdicts(run.streams, run.overload)]
    click.echo(report.table(run, goals))
    _RESULTS.mkdir(exist_ok=True)
    file = _RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}{'-quick' if quick else ''}.json"
    file.write_bytes(
        msgspec.json.format(msgspec.json.encode(report.document(run, goals)), indent=2)
    )
    click.echo(
        f"\n{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file},"
        f" {time.monotonic() - begun:.0f} s"
    )


def _progress(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
