"""`cbr-gateway serve`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import configured, loaded, reported, usable_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.config import Config
    from gateway.signals import Signals


@click.command()
@configured
@click.pass_obj
def serve(signals: "Signals | None", /, config_file: Path | None, **flags: object) -> None:
    """Serve until SIGTERM or SIGINT.

    SIGHUP reads tenants, issuers, regions and credentials anew.
    """
    with reported():
        config, layers = usable_now(config_file, flags)
        # grpc's core writes lines of its own form to standard error; what matters in them reaches
        # us as errors.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")

        from gateway.audit.lock import Unusable
        from gateway.config import masking
        from gateway.rpc.port import AddressInUse
        from gateway.state import StoreDown
        from gateway.workers.child import NotStarted

        run = _alone if config.server.workers == 1 else _with_workers
        try:
            run(config, lambda: loaded(config_file, flags)[0], signals)
        except (AddressInUse, NotStarted, Unusable, StoreDown) as problem:
            raise click.ClickException(masking(layers).of(str(problem))) from problem


def _alone(config: "Config", load: "Callable[[], Config]", signals: "Signals | None") -> None:
    from asyncio import Runner

    from gateway.loops import loop_factory
    from gateway.process import serve as served

    with Runner(loop_factory=loop_factory()) as runner:
        runner.run(served(config, load=load, signals=signals))


def _with_workers(
    config: "Config", load: "Callable[[], Config]", signals: "Signals | None"
) -> None:
    """The parent has no calls, and asyncio's own loop, which tells it of the ends of processes."""
    from asyncio import run

    from gateway.signals import Signals
    from gateway.workers.parent import serve_workers

    run(serve_workers(config, load, signals or Signals()))
