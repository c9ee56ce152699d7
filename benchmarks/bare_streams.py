"""The floor of streams: a bare grpc.aio server that writes the same bytes to all who watch.

Run in a process of its own: `python -m benchmarks.bare_streams`; the first line of its output is
its address. Each line of its input is one event.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
from cbrgateway.v1 import task_pb2

from benchmarks.runtime import run


def _message() -> bytes:
    message = task_pb2.WatchTasksResponse()
    message.observe_time.GetCurrentTime()
    return message.SerializeToString()


class Events:
    """The last event, and who waits for the next."""

    def __init__(self) -> None:
        self._message = _message()
        self._came = asyncio.Event()

    def tell(self) -> None:
        self._message = _message()
        self._came.set()
        self._came = asyncio.Event()

    async def watch(self, _request: bytes, _context: object) -> AsyncIterator[bytes]:
        while True:
            came = self._came
            yield self._message
            await came.wait()


async def main() -> None:
    events = Events()
    watch = grpc.unary_stream_rpc_method_handler(events.watch)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("cbrgateway.v1.TaskService", {"WatchTasks": watch}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        events.tell()
        print(flush=True)
    await server.stop(None)


if __name__ == "__main__":
    run(main())
