"""Many watchers in a process of their own: `python -m tests.watch.crowd '<JSON>'`.

    {"addresses": [...], "streams": 1250, "task_ids": [...], "per_connection": 100}

Opens the streams, each for one of the tasks, in turns. Writes `ready` with the number of streams
that have got their snapshot, and, when all have ended, one line of JSON: the moments (seconds since
1970) at which streams saw the end of each task, and how the streams ended.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter

import grpc
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

KEY = (("authorization", "Bearer key-of-payments"),)
_AT_ONCE = 50


class Crowd:
    def __init__(self, orders):
        self.orders = orders
        self.ready = 0
        self.seen = {}
        self.ends = Counter()
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._begun = asyncio.Event()

    async def run(self):
        count, per_connection = self.orders["streams"], self.orders["per_connection"]
        addresses, tasks = (
            itertools.cycle(self.orders["addresses"]),
            itertools.cycle(self.orders["task_ids"]),
        )
        # A connection of its own for each channel: gRPC would share one among channels to the same
        # address.
        channels = [
            grpc.aio.insecure_channel(next(addresses), [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(-(-count // per_connection))
        ]
        stubs = [TaskServiceStub(channel) for channel in channels]
        streams = [
            asyncio.create_task(self._watch(stubs[number // per_connection], next(tasks)))
            for number in range(count)
        ]
        await self._begun.wait()
        tell(f"ready {self.ready} {dict(self.ends)}")
        await asyncio.gather(*streams)
        tell(json.dumps({"seen": self.seen, "ends": self.ends}))
        await asyncio.gather(*(channel.close() for channel in channels))

    async def _watch(self, stub, task_id):
        wanted = task_pb2.WatchTasksRequest(
            filter=task_pb2.TaskFilter(task_ids=[task_id]), end_when_all_terminal=True
        )
        wanted.heartbeat_interval.FromSeconds(60)
        end = "cut"
        try:
            async with self._gate:
                call = stub.WatchTasks(wanted, metadata=KEY)
                first = await call.read()
            while first is not grpc.aio.EOF and first.WhichOneof("event") != "snapshot_end":
                first = await call.read()
            self.ready += 1
            self._count()
            while (event := await call.read()) is not grpc.aio.EOF:
                match event.WhichOneof("event"):
                    case "terminal":
                        self.seen.setdefault(task_id, []).append(time.time())
                    case "stream_end":
                        end = task_pb2.StreamEndReason.Name(event.stream_end.reason)
        except grpc.aio.AioRpcError as error:
            end = f"{error.code().name}: {error.details()}"
        self.ends[end] += 1
        self._count()

    def _count(self):
        if max(self.ready, sum(self.ends.values())) >= self.orders["streams"]:
            self._begun.set()


def tell(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(Crowd(json.loads(sys.argv[1])).run())
