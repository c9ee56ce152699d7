"""Carries out every RPC that is not written by hand: reads by the client, changes through the
ledger.
"""

from functools import partial

from cbrgateway.v1 import types_pb2, vault_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes import unmarked, views
from gateway.changes.change import Answer, Change
from gateway.changes.dry_run import DryRun
from gateway.changes.runner import ChangeRunner
from gateway.errors import GatewayError
from gateway.query.query import ListQuery, query_of
from gateway.rpc import validation
from gateway.rpc.call import Call
from gateway.upstream import etags
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.losses import withhold
from gateway.upstream.read_back import read_request
from gateway.watch.enricher import TaskEnricher
from gateway.watch.hub import Hub


class Forward(Struct, frozen=True):
    """One per process; `carry_out` is the handler. `queried`: the lists that can be filtered."""

    catalog: Catalog
    client: Client
    changes: ChangeRunner
    dry_run: DryRun
    enricher: TaskEnricher
    hub: Hub
    queried: frozenset[str]

    async def carry_out(self, call: Call, request: Message) -> Message:
        assert call.project is not None
        if not call.binding.reads:
            return await self._changed(call, request)
        queries = call.binding.rpc in self.queried and (
            request.filter or request.order_by or request.HasField("read_mask")  # type: ignore[attr-defined]
        )
        seen: ListQuery | views.View = (
            query_of(call.binding, unmarked.unmarked(request)) if queries else views.view(request)
        )
        reply = await self.client.read(
            call.binding,
            seen.request,
            call.account,
            call.scope,
            call.time_left_s,
            on_left=call.note_upstream,
            clear=unmarked.clear,
            keep=seen.keep,
            sort=seen.sort,
        )
        call.upstream = reply.upstream
        self.enricher.add_to_answer(call.project.key, reply.message)
        etags.tell(reply.message)
        return seen.finished(reply.message)

    async def _changed(self, call: Call, request: Message) -> Message:
        """A change, or what it would do."""
        assert call.project is not None
        assert call.slots is not None
        assert call.principal is not None
        nothing_left = views.only_a_mark(request)
        change = Change(
            id=call.id,
            binding=call.binding,
            request=request if nothing_left else unmarked.unmarked(request),
            scope=call.quota_scope,
            account=call.account,
            time_left_s=call.time_left_s,
            slots=call.slots,
            on_left=call.note_upstream,
            trace_id=call.trace_id,
            observers=call.observers,
            guards=call.principal.tenant.guards,
            hidden=call.hidden,
            losses=call.losses,
            instead=partial(self._nothing, call, request) if nothing_left else None,
        )
        if call.validates:
            return await self._validated(call, change)
        try:
            answer = await self.changes.run(change)
        finally:
            # Also after a failure: the change may have been made.
            self.hub.nudge(call.project.key)
        call.upstream = answer.upstream
        if answer.replayed:
            call.trailers["replayed"] = "true"
        unmarked.clear(answer.message)
        if "submission" in answer.message.DESCRIPTOR.fields_by_name:
            withhold(answer.message.submission.losses, change.hidden)  # type: ignore[attr-defined]
        return answer.message

    async def _nothing(self, call: Call, request: Message) -> Answer:
        """A change of which nothing is left for CBR: whether its vault is there and the caller's is
        looked up all the same.
        """
        read = self.catalog.asked_by(vault_pb2.ListVaultTagsRequest())
        reply = await self.client.read(
            read,
            read_request(read, request),
            call.account,
            call.scope,
            call.time_left_s,
            on_left=call.note_upstream,
        )
        upstream = reply.upstream.unsent()
        return Answer(views.answer_to(request, call.binding.response_type()), upstream)

    async def _validated(self, call: Call, change: Change) -> Message:
        """What the change would do, and what of its request CBR may not take."""
        told = types_pb2.ValidationResult()
        try:
            if change.instead is not None:
                await change.instead()
            else:
                told = await self.dry_run.validate(change)
        except GatewayError as error:
            error.upstream = error.upstream.unsent()
            raise
        for each in validation.warnings(call.binding, change.request):
            told.warnings.append(f"{each.subject}: {each.description}")
        response: Message = call.binding.response_type(validation=told)
        return response
