"""One worker: `python -m gateway.workers DESCRIPTOR`, started by its parent, at the other end of
that socket.
"""

import gc
import sys

from gateway.signals import Signals


def run() -> None:
    """As `gateway.__main__`: what serves hears signals first of all."""
    signals = Signals()
    gc.disable()
    with signals.installed():
        from gateway import stderr  # noqa: PLC0415 - see above

        stderr.install()

        from gateway.workers.worker import main  # noqa: PLC0415 - see above

        main(int(sys.argv[1]), signals)


if __name__ == "__main__":
    run()
