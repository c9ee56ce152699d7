"""TaskService: following tasks, as a stream and as a long poll."""

import re
from typing import Final

from cbrgateway.v1 import task_pb2, types_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.submission_records import SubmissionRecords
from gateway.errors import GatewayError, field_invalid
from gateway.limits import refusals
from gateway.rpc.call import Call
from gateway.rpc.dispatch import Stream
from gateway.rpc.handlers.handles import handles
from gateway.rpc.status import to_status
from gateway.state import StoreDown
from gateway.upstream.declaration import IDENTIFIER
from gateway.watch.hub import Hub
from gateway.watch.selection import owner_of
from gateway.watch.stream import Terms, Watch
from gateway.watch.stream_life import StreamTerms, ends_at, heartbeat_s
from gateway.watch.subscription import Subscription
from gateway.watch.wait import wait

_WAIT_S: Final = 60.0
_ID: Final = re.compile(IDENTIFIER)


class WatchHandlers(Struct, frozen=True):
    """The handlers."""

    hub: Hub
    submissions: SubmissionRecords

    @handles(task_pb2.WatchTasksRequest)
    async def watch_tasks(
        self, call: Call, request: task_pb2.WatchTasksRequest, stream: Stream
    ) -> None:
        wanted = request.filter
        _check(wanted)
        hub, project = self.hub, _project(call)
        cursor = (
            hub.tokens.read(request.resume_token, owner_of(call.scope, wanted))
            if request.resume_token
            else None
        )

        terms = Terms(
            snapshot=request.include_snapshot if request.HasField("include_snapshot") else True,
            until_terminal=request.end_when_all_terminal,
            fails_on_gap=request.gap_policy == task_pb2.GAP_POLICY_FAIL,
            token=request.resume_token,
            cursor=cursor,
            stream=StreamTerms(
                event=task_pb2.WatchTasksResponse,
                heartbeat_s=heartbeat_s(request),
                ends_at=ends_at(call.started, call.time_left_s),
                recheck=stream.recheck,
                write=stream.write,
            ),
            status_of=lambda error: to_status(error, call.id),
        )
        with hub.joined(project, call.scope, wanted, call.hidden) as (subscription, queue):
            watch = Watch(hub, subscription, queue, terms)
            await self._look_up(call, subscription)
            await watch.run()

    @handles(task_pb2.WaitTaskRequest)
    async def wait_task(self, call: Call, request: task_pb2.WaitTaskRequest) -> Message:
        by_task = request.WhichOneof("target") == "task_id"
        if by_task:
            _check_id("task_id", request.task_id)
        wanted = (
            task_pb2.TaskFilter(task_ids=[request.task_id])
            if by_task
            else task_pb2.TaskFilter(submission_ids=[request.submission_id])
        )
        limit_s = _seconds(request.timeout) if request.HasField("timeout") else _WAIT_S
        until = min(call.started + limit_s, ends_at(call.started, call.time_left_s))
        joined = self.hub.joined(_project(call), call.scope, wanted, call.hidden)
        with joined as (subscription, queue):
            missing = await self._look_up(call, subscription)
            if missing is not None:
                raise missing
            return await wait(self.hub, subscription, queue, until)

    async def _look_up(self, call: Call, subscription: Subscription) -> GatewayError | None:
        """Tells the subscription of the submissions that its filter names; the error of the last
        one that there is not. Raises QUOTA_STORE_DOWN.
        """
        missing: GatewayError | None = None
        for submission_id in subscription.selection.submission_ids:
            found: types_pb2.Submission | None = None
            try:
                found = await self.submissions.get(
                    submission_id, call.quota_scope.tenant, call.quota_scope.project
                )
            except GatewayError as error:
                missing = error
            except StoreDown:
                raise refusals.store_down("The store of submissions does not answer.") from None
            # What was heard of it meanwhile is newer.
            if subscription.submissions.get(submission_id) is None:
                subscription.learn(submission_id, found)
        return missing


def _project(call: Call) -> str:
    assert call.project is not None
    return call.project.key


def _seconds(duration: Duration) -> float:
    return float(duration.ToNanoseconds()) / 1e9


def _check(wanted: task_pb2.TaskFilter) -> None:
    if wanted.task_ids and wanted.submission_ids:
        raise field_invalid("filter", "names tasks and submissions; name one of the two", "one_of")
    for index, task_id in enumerate(wanted.task_ids):
        _check_id(f"filter.task_ids[{index}]", task_id)


def _check_id(path: str, task_id: str) -> None:
    if not _ID.fullmatch(task_id) or task_id in {".", ".."}:
        raise field_invalid(
            path,
            "must be a single identifier of 1 to 128 letters, digits, '.', '_' and '-'",
            "identifier",
        )
