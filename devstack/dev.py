"""`cbr-gateway dev`: a gateway before an emulated CBR, in one process, for a developer's own
machine.

Its API keys are printed and public, so it refuses to listen where other machines could reach it,
unless told otherwise.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from devstack.wanted import Wanted

if TYPE_CHECKING:
    from gateway.signals import Signals

USUAL: Final[Mapping[str, str]] = {
    "--listen": "127.0.0.1:50051",
    "--health-listen": "127.0.0.1:50052",
    "--admin-listen": "127.0.0.1:50053",
    "--http-listen": "127.0.0.1:50054",
    "--emulator-listen": "127.0.0.1:18774",
}
"""The addresses, in the order in which `--port-base` gives them ports, too."""


def _checked(flag: str, address: str, *, allow_remote: bool) -> str:
    """The address itself.

    Raises UsageError for one that is malformed or reaches further than this machine.
    """
    from gateway.rpc.settings import Address  # noqa: PLC0415 - `--help` answers without it

    _valid(flag, address, Address)
    host = address.rpartition(":")[0].strip("[]")
    if not allow_remote and not _loopback(host):
        raise click.UsageError(
            f"{flag}: {address} can be reached from other machines, and the keys of this gateway"
            " are public. Use 127.0.0.1, or add --allow-remote"
        )
    return address


def _valid(flag: str, value: str, kind: Any) -> None:  # noqa: ANN401 - an annotated type
    """Raises UsageError for a value that is not of that kind."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - as above

    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as failure:
        raise click.UsageError(
            f"{flag}: {value!r} {failure.errors()[0]['ctx']['error']}"
        ) from failure


def _checked_origin(origin: str) -> None:
    from gateway.http.settings import Origin  # noqa: PLC0415 - as above

    _valid("--allow-origin", origin, Origin)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _taken(addresses: Iterable[str]) -> Iterator[str]:
    """Those that cannot be listened on.

    Tried together, so that one address given twice is found, too, and all of them are named at
    once.
    """
    with contextlib.ExitStack() as held:
        for address in addresses:
            host, _, port = address.rpartition(":")
            host = host.strip("[]")
            try:
                held.enter_context(
                    socket.create_server(
                        (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
                    )
                )
            except OSError:
                yield address


def _free(flags: Mapping[str, str], unasked: Iterable[str]) -> dict[str, str]:
    """Those that can be listened on, where those that are missing are `unasked`: no first call
    needs them. Raises ClickException.
    """
    taken = set(_taken(flags.values()))
    left = {
        flag: address
        for flag, address in flags.items()
        if flag not in unasked or address not in taken
    }
    if taken := set(_taken(left.values())):
        raise _refusal(left, taken)
    return left


def _refusal(flags: Mapping[str, str], taken: Collection[str]) -> click.ClickException:
    """One line for each flag whose address is taken."""
    lines = [
        f"cannot listen on {address}: the port is taken, or the address is not one of this"
        f" machine. Choose another one with {flag}"
        for flag, address in flags.items()
        if address in taken
    ]
    if len(lines) > 1:
        base = '--port-base 6001, which takes 6001 to 6005: make run ARGS="--port-base 6001"'
        lines.append(f"Or choose all at once, such as by {base}")
    return click.ClickException("\n".join(lines))


def _from_base(ctx: click.Context, port_base: int) -> dict[str, str]:
    """The addresses from a port on, of those that were not given."""
    return {
        flag: f"127.0.0.1:{port}"
        for port, flag in enumerate(USUAL, start=port_base)
        if ctx.get_parameter_source(flag.strip("-").replace("-", "_")) is ParameterSource.DEFAULT
    }


@click.command()
@click.option(
    "--listen",
    default=USUAL["--listen"],
    show_default=True,
    envvar="CBR_GATEWAY_SERVER__LISTEN",
    show_envvar=True,
    help="Address of the services.",
)
@click.option(
    "--health-listen",
    default=USUAL["--health-listen"],
    show_default=True,
    envvar="CBR_GATEWAY_SERVER__HEALTH_LISTEN",
    show_envvar=True,
    help="Address of the health service.",
)
@click.option(
    "--admin-listen",
    envvar="CBR_GATEWAY_ADMIN__LISTEN",
    show_envvar=True,
    help=f"Address of the admin port.  [default: {USUAL['--admin-listen']}, or a free port if that"
    " is taken]",
)
@click.option(
    "--http-listen",
    envvar="CBR_GATEWAY_HTTP__LISTEN",
    show_envvar=True,
    help=f"Address for calls by HTTP.  [default: {USUAL['--http-listen']}, or a free port if that"
    " is taken]",
)
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of a web page that may call over HTTP, such as http://localhost:3000; repeatable.",
)
@click.option(
    "--emulator-listen",
    default=USUAL["--emulator-listen"],
    show_default=True,
    envvar="CBR_EMULATOR_LISTEN",
    show_envvar=True,
    help="Address of the emulated CBR.",
)
@click.option(
    "--port-base",
    type=click.IntRange(1, 65535 - 4),
    help=(
        "Five ports of 127.0.0.1 from this one on: services, health, admin, HTTP, emulated cloud."
        " An address that is given counts more."
    ),
)
@click.option(
    "--task-seconds",
    default=4.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How long a backup or restore takes.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is logged.",
)
@click.option(
    "--audit",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep an audit log in this directory, with a key of its own.",
)
@click.option("--allow-remote", is_flag=True, help="Allow addresses that other machines can reach.")
@click.pass_context
def dev(
    ctx: click.Context,
    /,
    *,
    listen: str,
    health_listen: str,
    admin_listen: str | None,
    http_listen: str | None,
    allow_origin: tuple[str, ...],
    emulator_listen: str,
    port_base: int | None,
    task_seconds: float,
    log_level: str,
    audit: Path | None,
    allow_remote: bool,
) -> None:
    """Run a gateway before an emulated CBR. For development only."""
    flags = {
        "--listen": listen,
        "--health-listen": health_listen,
        "--admin-listen": admin_listen or USUAL["--admin-listen"],
        "--http-listen": http_listen or USUAL["--http-listen"],
        "--emulator-listen": emulator_listen,
    }
    if port_base is not None:
        flags |= _from_base(ctx, port_base)
    for flag, address in flags.items():
        _checked(flag, address, allow_remote=allow_remote)
    for origin in allow_origin:
        _checked_origin(origin)
    asked = {"--admin-listen": admin_listen, "--http-listen": http_listen}
    flags = _free(flags, [flag for flag, given in asked.items() if given is None])
    # As in `cbr-gateway serve`: what matters in the lines of grpc's core reaches us as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    more = {"task_s": task_seconds, "log_level": log_level, "audit": audit, "origins": allow_origin}
    _run(_wanted(flags, **more), flags, signals=ctx.obj)


def _wanted(flags: Mapping[str, str], **more: Any) -> Wanted:  # noqa: ANN401 - as Wanted has them
    return Wanted(
        listen=flags["--listen"],
        health=flags["--health-listen"],
        emulator=flags["--emulator-listen"],
        admin=flags.get("--admin-listen"),
        http=flags.get("--http-listen"),
        **more,
    )


def _run(wanted: Wanted, flags: Mapping[str, str], *, signals: "Signals | None") -> None:
    from devstack.stack import AddressTaken, run_stack  # noqa: PLC0415
    from gateway.audit.lock import Unusable  # noqa: PLC0415
    from gateway.config import ConfigError  # noqa: PLC0415

    try:
        asyncio.run(run_stack(wanted, signals))
    except (ConfigError, Unusable) as unusable:
        raise click.ClickException(str(unusable)) from unusable
    except AddressTaken as late:
        raise _refusal(flags, [late.address]) from late
