"""The fork server of a gateway's workers: `python -m gateway.workers DESCRIPTOR MODULE...`."""

import gc
import sys

from gateway.extras import load_less


def run() -> None:
    # What is loaded stays: to look through it for garbage meanwhile would cost time.
    gc.disable()
    load_less()
    from gateway.workers.fork_server_process import main  # noqa: PLC0415 - see above

    main(int(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    run()
