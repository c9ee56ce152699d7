"""What watchers saw, and everything that is wrong with it."""

import asyncio

from cbrgateway.v1 import task_pb2

FINAL = {
    task_pb2.TASK_STATUS_SUCCEEDED: "success",
    task_pb2.TASK_STATUS_FAILED: "failed",
    task_pb2.TASK_STATUS_TIMED_OUT: "timeout",
    task_pb2.TASK_STATUS_SKIPPED: "skipped",
}
_WITH_TASK = {"snapshot_task", "update", "terminal"}


def task_in(event):
    kind = event.WhichOneof("event")
    part = getattr(event, kind)
    return None if kind not in _WITH_TASK else part if kind == "snapshot_task" else part.task


class Ledger:
    """One watcher's.

    `told` takes raw streams, before the loop looks at them; `seen` what the loop lets through.

    `forgetful`: the watcher forgets what it has seen now and then, so that it may see a state
    twice.
    """

    def __init__(self, name, *, forgetful=False):
        self.name, self.forgetful = name, forgetful
        self.opened = []
        """The token of each stream that was opened."""
        self.ends = {}
        self.begun = asyncio.Event()
        """A snapshot was complete: from now on no end may be missed."""
        self.problems = []
        self.gaps = 0
        self._revisions = {}
        self._streams = {}

    def told(self, stream, response):
        """One response of the stream with that number, counted from 0."""
        sequence, revisions = self._streams.setdefault(stream, [0, {}])
        if response.sequence != sequence + 1:
            self._complain(f"stream {stream}: {response.sequence} follows {sequence}")
        self._streams[stream][0] = response.sequence
        task = task_in(response)
        if task is not None:
            if task.revision < revisions.get(task.id, 0):
                self._complain(
                    f"stream {stream}: {task.id} goes back from {revisions[task.id]} to"
                    f" {task.revision}"
                )
            revisions[task.id] = task.revision

    def seen(self, event):
        """Whether it is the end of a task, and news."""
        kind, task = event.WhichOneof("event"), task_in(event)
        if kind == "snapshot_end":
            self.begun.set()
        elif kind == "gap":
            self.gaps += 1
        elif kind == "removed":
            self._complain(f"{event.removed.task_id} is said to be gone")
        if task is None:
            return False
        if self.forgetful and task.revision == self._revisions.get(task.id):
            return False
        if task.revision <= self._revisions.get(task.id, 0):
            self._complain(f"{task.id} came twice with {task.revision}")
        if task.id in self.ends:
            self._complain(f"{task.id} changes after its end")
        self._revisions[task.id] = task.revision
        if task.status in FINAL:
            self.ends[task.id] = FINAL[task.status]
        if (task.status in FINAL) != (kind == "terminal") and kind != "snapshot_task":
            self._complain(f"{task.id} is {task.status} in {kind}")
        return task.status in FINAL

    def missing(self, truth):
        """Tasks whose end was not seen, or not as it was. `truth`: id -> status."""
        return {
            task_id: (status, self.ends.get(task_id))
            for task_id, status in truth.items()
            if self.ends.get(task_id) != status
        }

    def _complain(self, text):
        self.problems.append(f"{self.name}: {text}")


class Tapped:
    """A stub whose streams write into a ledger what really came."""

    def __init__(self, stub, ledger):
        self._stub, self._ledger = stub, ledger

    def WatchTasks(self, request):  # noqa: N802 - its name in the proto
        self._ledger.opened.append(request.resume_token)
        return _Tap(self._stub.WatchTasks(request), self._ledger, len(self._ledger.opened) - 1)


class _Tap:
    def __init__(self, call, ledger, stream):
        self._call, self._ledger, self._stream = call, ledger, stream

    async def read(self):
        response = await self._call.read()
        if isinstance(response, task_pb2.WatchTasksResponse):
            self._ledger.told(self._stream, response)
        return response

    def cancel(self):
        return self._call.cancel()
