"""`cbr-gateway check`: the configuration and the declarations, and what a real CBR says."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import configured, usable_now, within

if TYPE_CHECKING:
    from gateway.config import Config, Layers
    from gateway.survey.run import Visit
    from gateway.upstream.catalog import Catalog


@click.command()
@configured
@click.option(
    "--start",
    is_flag=True,
    help=(
        "Also refuse what another process has now: ports, the store's file, the audit log. For a"
        " machine on which no gateway runs."
    ),
)
@click.option(
    "--online",
    is_flag=True,
    help=(
        "Also sign in to CBR with every credential, list in every project, and connect to all other"
        " servers that are named. Changes nothing."
    ),
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --online: write how answers differ from the description.",
)
@within(60.0, "all answers of --online")
def check(
    config_file: Path | None,
    start: bool,  # noqa: FBT001 - a flag of the command line
    online: bool,  # noqa: FBT001 - as above
    report_file: Path | None,
    within_s: float,
    **flags: object,
) -> None:
    """Check the configuration, every declaration, and what a start needs here; report all problems.

    Changes nothing, and may run beside a gateway.
    """
    if report_file is not None and not online:
        raise click.UsageError("--report needs --online: what it tells is asked of CBR")
    from gateway.process import events_lost

    config, layers, catalog = _found(config_file, flags)
    _check_start(config, layers, start)
    if text := events_lost(config):
        click.echo(f"Warning: {text}", err=True)
    counts = {
        "RPC": len(catalog.bindings),
        "region": len(config.upstream.regions),
        "credential": len(config.upstream.credentials),
        "tenant": len(config.tenants),
        "project": sum(len(tenant.projects) for tenant in config.tenants),
    }
    click.echo(f"OK: {', '.join(_counted(count, thing) for thing, count in counts.items())}")
    if report_file is not None:
        _write_report(config, report_file, within_s)
    if online:
        _check_online(config, layers, catalog, within_s)


def _found(config_file: Path | None, flags: dict[str, object]) -> "tuple[Config, Layers, Catalog]":
    """Raises ClickException with all that is wrong in the configuration and the declarations."""
    from gateway.config import ConfigError
    from gateway.operations import load_catalog
    from gateway.upstream.catalog import DeclarationError

    reports = []
    try:
        config, layers = usable_now(config_file, flags)
    except ConfigError as report:
        reports.append(str(report))
    try:
        catalog = load_catalog()
    except DeclarationError as report:
        reports.append(str(report))
    if reports:
        raise click.ClickException("\n".join(reports))
    return config, layers, catalog


def _check_start(config: "Config", layers: "Layers", start: bool) -> None:  # noqa: FBT001 - as above
    """What `serve` would refuse here and now."""
    import asyncio

    from gateway.config import masking
    from gateway.preflight import refusals

    mask, found = masking(layers), asyncio.run(refusals(config))
    if problems := [mask.of(each.text) for each in found if start or not each.held]:
        raise click.ClickException("\n".join(problems))
    for each in found:
        click.echo(f"In use now: {mask.of(each.text)}", err=True)


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _check_online(config: "Config", layers: "Layers", catalog: "Catalog", within_s: float) -> None:
    import asyncio

    from gateway import telemetry
    from gateway.config import masking
    from gateway.survey.access import problems_of
    from gateway.survey.projects import entries
    from gateway.survey.receivers import unreachable

    # Whatever would be logged is among the problems.
    telemetry.configure(config.log.model_copy(update={"level": "error"}))
    problems = asyncio.run(problems_of(config, catalog, within_s))
    reports = []
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        reports.append(f"{_counted(len(problems), 'problem')} with CBR:\n{lines}")
    if config.state.kind == "valkey":
        from gateway.state.valkey import problem_with

        reports += filter(None, [asyncio.run(problem_with(config.state))])
    reports += asyncio.run(unreachable(config, within_s))
    if reports:
        raise click.ClickException(masking(layers).of("\n".join(reports)))
    click.echo(
        "OK: every credential is accepted, and vaults, policies and tasks can be listed in"
        f" {_counted(len(entries(config)), 'project')}"
    )


def _write_report(config: "Config", file: Path, within_s: float) -> None:
    from gateway.survey.report import report

    found = report(surveyed(config, within_s))
    try:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except OSError as problem:
        raise click.ClickException(
            f"{file}: {problem.strerror}. Name a file that can be written"
        ) from problem
    count = sum(
        len(operation["differences"])
        for cloud in found["clouds"]
        for operation in cloud["operations"]
    )
    click.echo(
        f"{_counted(count, 'difference')} from the description in {file}. It holds no ids,"
        " names, addresses or values: please send it in"
    )


def surveyed(config: "Config", within_s: float) -> "list[Visit]":
    """What a few projects of each region answer to every read."""
    import asyncio

    from gateway import telemetry
    from gateway.survey.run import survey

    telemetry.configure(config.log.model_copy(update={"level": "error"}))
    return asyncio.run(survey(config, within_s))
