"""The command `cbr-gateway`, also as `python -m gateway`."""

import gc
import sys

from gateway import standard_descriptors
from gateway.signals import Signals


def run() -> None:
    """Runs the command line.

    What serves hears signals first of all, since loading the rest takes a while.
    """
    signals = Signals()
    standard_descriptors.hold()
    if sys.argv[1:2] in (["serve"], ["dev"]):
        # What is loaded stays: to look through it for garbage meanwhile would cost a tenth of the
        # start. `serve` turns this on again.
        gc.disable()
        with signals.installed():
            from gateway.extras import load_less  # noqa: PLC0415 - see above

            load_less()
            from gateway import stderr  # noqa: PLC0415 - see above

            stderr.install()
            _command(signals)
    else:
        _command(signals)


def _command(signals: Signals) -> None:
    from gateway.cli.main import main  # noqa: PLC0415 - see above

    main(prog_name="cbr-gateway", obj=signals)


if __name__ == "__main__":
    run()
