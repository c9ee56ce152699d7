"""What TaskService answers by itself: the submissions that the gateway keeps."""

from collections.abc import AsyncIterator

from cbrgateway.v1 import task_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.submission_records import SubmissionRecords
from gateway.rpc.call import Call, Handler
from gateway.rpc.handlers.handles import by_rpc, handles
from gateway.rpc.handlers.stored import guarded
from gateway.upstream.losses import as_told
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.paging import plan_page


class TaskHandlers(Struct, frozen=True):
    """The handlers, by RPC."""

    submissions: SubmissionRecords
    tokens: PageTokens

    def by_rpc(self) -> dict[str, Handler]:
        return {rpc: guarded(handler) for rpc, handler in by_rpc(self).items()}

    @handles(task_pb2.GetSubmissionRequest)
    async def get_submission(self, call: Call, request: task_pb2.GetSubmissionRequest) -> Message:
        scope = call.quota_scope
        found = await self.submissions.get(request.submission_id, scope.tenant, scope.project)
        return task_pb2.GetSubmissionResponse(submission=as_told(found, call.hidden))

    @handles(task_pb2.ListSubmissionsRequest)
    async def list_submissions(
        self, call: Call, request: task_pb2.ListSubmissionsRequest
    ) -> Message:
        page = plan_page(call.binding, request, self.tokens, call.scope)
        return await page.kept(
            task_pb2.ListSubmissionsResponse(),
            lambda before: self._matching(call, request, before, page.size + 1),
        )

    async def _matching(
        self,
        call: Call,
        request: task_pb2.ListSubmissionsRequest,
        before: str,
        most: int,
    ) -> AsyncIterator[tuple[str, Message]]:
        scope = call.quota_scope
        async for position, row in self.submissions.recent(
            scope.tenant, scope.project, before, most
        ):
            if (
                request.state in {0, row.state}
                and request.request_id in {"", row.request_id}
                and request.rpc in {"", row.rpc}
            ):
                yield position, as_told(row, call.hidden)
