"""Carries out every RPC that is not written by hand: reads by the client, changes through the
ledger.
"""

from dataclasses import dataclass

from cbrgateway.v1 import vault_pb2
from google.protobuf.message import Message

from gateway.changes import unmarked, views
from gateway.changes.change import Change
from gateway.changes.runner import ChangeRunner
from gateway.rpc.call import Call
from gateway.upstream.account import Account
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.read_back import read_request
from gateway.watch.enricher import TaskEnricher
from gateway.watch.hub import Hub


@dataclass(frozen=True, slots=True)
class Forward:
    """One per process; `carry_out` is the handler."""

    catalog: Catalog
    client: Client
    changes: ChangeRunner
    enricher: TaskEnricher
    hub: Hub

    async def carry_out(self, call: Call, request: Message) -> Message:
        assert call.project is not None
        account = call.account
        if call.binding.reads:
            seen = views.view(request)
            reply = await self.client.read(
                call.binding,
                seen.request,
                account,
                call.scope,
                call.time_left_s,
                on_left=call.note_upstream,
                clear=unmarked.clear,
                keep=seen.keep,
            )
            call.upstream = reply.upstream
            self.enricher.add_to_answer(call.project.key, reply.message)
            return seen.finished(reply.message)
        assert call.slots is not None
        assert call.principal is not None
        if views.only_a_mark(request):
            return await self._nothing(call, request, account)
        request = unmarked.unmarked(request)
        change = Change(
            id=call.id,
            binding=call.binding,
            request=request,
            scope=call.quota_scope,
            account=account,
            time_left_s=call.time_left_s,
            slots=call.slots,
            on_left=call.note_upstream,
            observers=call.observers,
            guards=call.principal.tenant.guards,
            losses=call.losses,
        )
        try:
            answer = await self.changes.run(change)
        finally:
            # Also after a failure: the change may have been made.
            self.hub.nudge(call.project.key)
        call.upstream = answer.upstream
        if answer.replayed:
            call.trailers["replayed"] = "true"
        unmarked.clear(answer.message)
        return answer.message

    async def _nothing(self, call: Call, request: Message, account: Account) -> Message:
        """A change of which nothing is left for CBR: whether its vault is there and the caller's is
        looked up all the same.
        """
        read = self.catalog.asked_by(vault_pb2.ListVaultTagsRequest())
        reply = await self.client.read(
            read,
            read_request(read, request),
            account,
            call.scope,
            call.time_left_s,
            on_left=call.note_upstream,
        )
        call.upstream = reply.upstream
        return views.answer_to(request, call.binding.response_type())
