"""Work in other threads than that of the event loop, and work of theirs on it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

T = TypeVar("T")


async def in_background(work: Callable[[], T]) -> T:
    """What `work` returns or raises, which may hang, such as reading files on a network.

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


def on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], within_s: float) -> T:
    """What `work` returns or raises, for a thread that waits for it.

    Raises TimeoutError, and ends it then; also where the loop ends before.
    """
    asked = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return asked.result(within_s)
    except TimeoutError:
        asked.cancel()
        raise
    except CancelledError:
        raise TimeoutError("the process is ending") from None
