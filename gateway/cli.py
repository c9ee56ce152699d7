"""The command `cbr-gateway`. Exit codes: 0 fine, 1 a problem was found, 2 wrong usage.

Nothing heavier than click is imported before a command needs it, so that `--help` answers at once.
Other packages add commands through the entry point group `cbr_gateway.commands`; one that cannot be
loaded says so when it is called, and disturbs nothing else.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.audit_commands import audit
from gateway.task_commands import tasks

if TYPE_CHECKING:
    from gateway.config import Config, Layers
    from gateway.signals import Signals
    from gateway.survey.run import Visit
    from gateway.upstream.catalog import Catalog

_PLUGINS = "cbr_gateway.commands"
_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Commands(click.Group):
    """The built-in commands and those of other packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group=_PLUGINS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = super().get_command(ctx, cmd_name)
        if known is not None:
            return known
        return next((_plugin(entry) for entry in entry_points(group=_PLUGINS, name=cmd_name)), None)


def _plugin(entry: EntryPoint) -> click.Command:
    """The command of another package, or one that tells why there is none."""
    try:
        command = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever a foreign package does while it is imported
        reason = f"cannot be loaded: {type(error).__name__}: {error}"
    else:
        if isinstance(command, click.Command):
            return command
        reason = f"cannot be loaded: {entry.value} is not a click command"

    def fail() -> None:
        raise click.ClickException(f"`{entry.name}` {reason}")

    return click.Command(entry.name, callback=fail, help=f"({reason})", short_help=f"({reason})")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """CBR Gateway: Huawei Cloud Backup and Recovery over gRPC."""


main.add_command(audit)
main.add_command(tasks)


def _configured(command: _Command) -> _Command:
    """The options that a configuration is made from; each flag lies over the file and the
    environment.
    """
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
        click.option("--reflection/--no-reflection", default=None, help="Offer server reflection."),
        click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def _reported() -> Iterator[None]:
    """Turns the reports of mistakes into their text and exit code 1."""
    from gateway.config import ConfigError  # noqa: PLC0415 - see above
    from gateway.upstream.catalog import DeclarationError  # noqa: PLC0415

    try:
        yield
    except (ConfigError, DeclarationError) as report:
        raise click.ClickException(str(report)) from report


def _loaded(config_file: Path | None, flags: dict[str, object]) -> "tuple[Config, Layers]":
    """The configuration and what it was made of. Raises ConfigError."""
    from gateway.config import (  # noqa: PLC0415 - only when it is needed
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


def _usable_now(config_file: Path | None, flags: dict[str, object]) -> "tuple[Config, Layers]":
    """The configuration, its certificates looked at, too, and what it was made of.

    Raises ConfigError.
    """
    import datetime as dt  # noqa: PLC0415

    from gateway.config import ConfigError, Problem  # noqa: PLC0415
    from gateway.config.certificates import out_of_service  # noqa: PLC0415

    config, layers = _loaded(config_file, flags)
    found = out_of_service(
        config.server.tls, config.upstream.transport, config.audit, dt.datetime.now(dt.UTC)
    )
    if problems := [Problem(path, layers.source(path), text) for path, text in found]:
        raise ConfigError(problems)
    return config, layers


@main.command("serve")
@_configured
@click.pass_obj
def serve_calls(signals: "Signals | None", /, config_file: Path | None, **flags: object) -> None:
    """Serve until SIGTERM or SIGINT.

    SIGHUP reads tenants, issuers, regions and credentials anew.
    """
    with _reported():
        config, layers = _usable_now(config_file, flags)
        # grpc's core writes lines of its own form to standard error; what matters in them reaches
        # us as errors.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")

        from asyncio import Runner  # noqa: PLC0415

        from gateway.audit.recovery import Unusable  # noqa: PLC0415
        from gateway.config import masking  # noqa: PLC0415
        from gateway.process import serve  # noqa: PLC0415
        from gateway.rpc.server import AddressInUse  # noqa: PLC0415
        from gateway.state import StoreDown  # noqa: PLC0415

        try:
            with Runner(loop_factory=_loop_factory()) as runner:
                runner.run(
                    serve(config, load=lambda: _loaded(config_file, flags)[0], signals=signals)
                )
        except (AddressInUse, Unusable, StoreDown) as problem:
            raise click.ClickException(masking(layers).of(str(problem))) from problem


def _loop_factory() -> Callable[[], Any] | None:
    """The loop of uvloop where the extra `fast` is installed, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional extra
    except ImportError:
        return None
    return uvloop.new_event_loop


@main.command()
@_configured
@click.option(
    "--online",
    is_flag=True,
    help="Also sign in to CBR with every credential, and list in every project. Changes nothing.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --online: write how answers differ from the description.",
)
@click.option(
    "--timeout",
    "within_s",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds for all answers of --online.",
)
def check(
    config_file: Path | None,
    online: bool,  # noqa: FBT001 - a flag of the command line
    report_file: Path | None,
    within_s: float,
    **flags: object,
) -> None:
    """Check the configuration and every declaration; report all problems."""
    from gateway.config import ConfigError  # noqa: PLC0415
    from gateway.operations import load_catalog  # noqa: PLC0415
    from gateway.upstream.catalog import DeclarationError  # noqa: PLC0415

    if report_file is not None and not online:
        raise click.UsageError("--report needs --online: what it tells is asked of CBR")
    reports = []
    try:
        config, layers = _usable_now(config_file, flags)
    except ConfigError as report:
        reports.append(str(report))
    try:
        catalog = load_catalog()
    except DeclarationError as report:
        reports.append(str(report))
    if reports:
        raise click.ClickException("\n".join(reports))
    counts = {
        "RPC": len(catalog.bindings),
        "region": len(config.upstream.regions),
        "credential": len(config.upstream.credentials),
        "tenant": len(config.tenants),
        "project": sum(len(tenant.projects) for tenant in config.tenants),
    }
    click.echo(
        "OK: "
        + ", ".join(f"{count} {thing}{'s' * (count != 1)}" for thing, count in counts.items())
    )
    if report_file is not None:
        _write_report(config, report_file, within_s)
    if online:
        _check_online(config, layers, catalog, within_s)


def _check_online(config: "Config", layers: "Layers", catalog: "Catalog", within_s: float) -> None:
    import asyncio  # noqa: PLC0415 - see above

    from gateway import telemetry  # noqa: PLC0415
    from gateway.config import masking  # noqa: PLC0415
    from gateway.online import look, places  # noqa: PLC0415

    # Whatever would be logged is among the problems.
    telemetry.configure(config.log.model_copy(update={"level": "error"}))
    problems = asyncio.run(look(config, catalog, within_s))
    reports = []
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        reports.append(f"{len(problems)} problem{'s' * (len(problems) != 1)} with CBR:\n{lines}")
    if config.state.kind == "valkey":
        from gateway.state.valkey import (  # noqa: PLC0415 - only when it is needed
            problem_with,
        )

        reports += filter(None, [asyncio.run(problem_with(config.state))])
    if reports:
        raise click.ClickException(masking(layers).of("\n".join(reports)))
    click.echo(
        "OK: every credential is accepted, and vaults, policies and tasks can be listed in"
        f" {len(places(config))} projects"
    )


def _write_report(config: "Config", file: Path, within_s: float) -> None:
    from gateway.survey.report import report  # noqa: PLC0415 - see above

    found = report(_surveyed(config, within_s))
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
        f"{count} difference{'s' * (count != 1)} from the description in {file}. It holds no ids,"
        " names, addresses or values: please send it in"
    )


def _surveyed(config: "Config", within_s: float) -> "list[Visit]":
    """What a few projects of each region answer to every read."""
    import asyncio  # noqa: PLC0415 - see above

    from gateway import telemetry  # noqa: PLC0415
    from gateway.survey.run import survey  # noqa: PLC0415

    telemetry.configure(config.log.model_copy(update={"level": "error"}))
    return asyncio.run(survey(config, within_s))


@main.command()
@_configured
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder that is empty or not there yet.",
)
@click.option(
    "--timeout",
    "within_s",
    type=click.FloatRange(1, 3600),
    default=120.0,
    show_default=True,
    help="Seconds for all answers.",
)
def record(config_file: Path | None, folder: Path, within_s: float, **flags: object) -> None:
    """Record what CBR answers to reads, as sanitised files for tests. Changes nothing."""
    from gateway.survey.fixtures import empty, fixtures, write  # noqa: PLC0415

    with _reported():
        config, _ = _usable_now(config_file, flags)
    try:
        empty(folder)
        files = fixtures(_surveyed(config, within_s))
        write(files, folder)
    except OSError as problem:
        raise click.ClickException(
            f"{folder}: {problem.strerror or problem}. Name a folder that is empty or not there yet"
        ) from problem
    click.echo(
        f"{len(files)} answers in {folder}. Ids, names, addresses and free text are replaced; look"
        " them over before you pass them on"
    )


@main.group()
def config() -> None:
    """Show the configuration."""


@config.command("print")
@_configured
def config_print(config_file: Path | None, **flags: object) -> None:
    """Print the effective configuration with the source of each value. Secrets stay hidden."""
    from gateway.config import shown  # noqa: PLC0415

    with _reported():
        click.echo(shown(*_loaded(config_file, flags)), nl=False)


@config.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from gateway.config import Config  # noqa: PLC0415

    click.echo(json.dumps(Config.model_json_schema(), indent=2))


@main.group()
def keys() -> None:
    """API keys of callers."""


@keys.command("new")
@click.option(
    "--id",
    "key_id",
    default="new-key",
    show_default=True,
    help="Name of the key in the configuration.",
)
def keys_new(key_id: str) -> None:
    """Make an API key. It is shown once; the configuration keeps its hash only."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from gateway.tenants import Identifier, new_api_key  # noqa: PLC0415

    try:
        TypeAdapter(Identifier).validate_python(key_id)
    except ValidationError as failure:
        raise click.BadParameter(
            f"{key_id!r} {failure.errors()[0]['ctx']['error']}", param_hint="--id"
        ) from failure
    key, sha256 = new_api_key()
    click.echo(f"# The key, for the caller alone: metadata `authorization: Bearer <key>`.\n{key}\n")
    click.echo(f'# Lines for the `api_keys` of its tenant:\n- id: "{key_id}"\n  sha256: "{sha256}"')


@main.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def bindings(as_json: bool) -> None:  # noqa: FBT001 - a flag of the command line
    """List every RPC with the CBR call it makes."""
    from gateway import explain  # noqa: PLC0415
    from gateway.operations import load_catalog  # noqa: PLC0415

    with _reported():
        catalog = load_catalog()
    if as_json:
        click.echo(json.dumps([explain.row(binding) for binding in catalog], indent=2))
    else:
        click.echo("\n".join(explain.table(catalog)))


@main.command("explain")
@click.argument("rpc")
def explain_rpc(rpc: str) -> None:
    """Explain one RPC: what it does and calls, its fields, rules and errors."""
    from gateway import explain  # noqa: PLC0415
    from gateway.operations import load_catalog  # noqa: PLC0415

    with _reported():
        catalog = load_catalog()
    match explain.found(rpc, catalog.bindings):
        case [binding]:
            click.echo("\n".join(explain.explained(binding)))
        case []:
            near = explain.near(rpc, catalog.bindings)
            hint = (
                f"Did you mean {' or '.join(near)}?"
                if near
                else "`cbr-gateway bindings` lists them all."
            )
            raise click.BadParameter(f"no RPC {rpc!r}. {hint}", param_hint="RPC")
        case several:
            raise click.BadParameter(
                f"{rpc!r} may be {' or '.join(b.rpc for b in several)}", param_hint="RPC"
            )


@main.command()
@click.option(
    "--address",
    default="127.0.0.1:50052",
    show_default=True,
    metavar="HOST:PORT",
    help="Address of the health service.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for the answer.",
)
def healthcheck(address: str, timeout_s: float) -> None:
    """Ask a running gateway whether it serves: exit code 0 when it does. For container probes."""
    import grpc  # noqa: PLC0415
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    # The proxy variables of a container are not meant for a probe of the container itself.
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout_s
            )
        except grpc.RpcError as error:
            raise click.ClickException(f"{address}: {error.code().name}") from error
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    click.echo(f"{address}: {status}")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise click.exceptions.Exit(1)


@main.command("version")
def show_version() -> None:
    """Print the version of the gateway and of what it stands on."""
    click.echo(
        f"cbr-gateway {version('cbr-gateway')} (grpcio {version('grpcio')}, protobuf"
        f" {version('protobuf')})"
    )
