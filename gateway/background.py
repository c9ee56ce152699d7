"""Work that may hang, such as reading files that may be on a network: off the event loop, and in no
way of the process's end.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_background(work: Callable[[], T]) -> T:
    """What `work` returns or raises.

    Unlike asyncio.to_thread its thread is its own: one that hangs holds up neither other work nor
    the end.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(error)

    done.set_running_or_notify_cancel()
    threading.Thread(target=run, name="background", daemon=True).start()
    return await asyncio.wrap_future(done)
