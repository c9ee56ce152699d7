"""`cbr-gateway serve`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import configured, loaded, reported, usable_now

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

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

        from asyncio import Runner

        from gateway.audit.recovery import Unusable
        from gateway.config import masking
        from gateway.process import serve as served
        from gateway.rpc.server import AddressInUse
        from gateway.state import StoreDown

        try:
            with Runner(loop_factory=_loop_factory()) as runner:
                runner.run(
                    served(config, load=lambda: loaded(config_file, flags)[0], signals=signals)
                )
        except (AddressInUse, Unusable, StoreDown) as problem:
            raise click.ClickException(masking(layers).of(str(problem))) from problem


def _loop_factory() -> "Callable[[], AbstractEventLoop] | None":
    """The loop of uvloop where the extra `fast` is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
