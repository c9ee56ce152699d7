"""The command `cbr-gateway`, also as `python -m gateway`."""

import contextlib
import sys

from gateway.signals import Signals


def run() -> None:
    """Runs the command line. For `serve` signals are heard first of all: loading the rest takes a while."""
    signals = Signals()
    with signals.installed() if sys.argv[1:2] == ["serve"] else contextlib.nullcontext():
        from gateway.cli import main  # noqa: PLC0415 - see above

        main(prog_name="cbr-gateway", obj=signals)


if __name__ == "__main__":
    run()
