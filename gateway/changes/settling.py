"""The record of a change while it is carried out: SENT before its first byte goes to CBR, and its
end with all that follows from it.
"""

from typing import Final

from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.change import Change
from gateway.changes.freed import Freed
from gateway.changes.ledger import Ending, Ledger
from gateway.changes.outcome_search import OutcomeSearch
from gateway.changes.submissions import Submissions
from gateway.errors import GatewayError, UpstreamFacts
from gateway.limits import deltas, refusals
from gateway.limits.pricing import Priced
from gateway.limits.recount import Recounter
from gateway.state import Heartbeat, Operation, StoreDown
from gateway.upstream.change_observer import ChangeObserver, ChangeResult

_RESPONSE_CAP: Final = 16 * 1024


class Settling(Struct, frozen=True):
    """One per process."""

    ledger: Ledger
    recounter: Recounter
    outcomes: OutcomeSearch
    freed: Freed
    heartbeat: Heartbeat
    submissions: Submissions

    def observer(self, change: Change, operation: Operation, priced: Priced) -> ChangeObserver:
        """Who keeps the record of a change. Takes its slots until its end."""
        term = self.heartbeat.term
        change.slots.enter()

        async def on_send() -> bool:
            try:
                if await self.ledger.sent(operation.id):
                    return True
            except StoreDown:
                raise refusals.store_down(
                    "The store of quotas and request_ids does not answer."
                ) from None
            # This process was held up, or the store lost the reservation.
            raise _ended()

        def stopped() -> GatewayError | None:
            return None if self.heartbeat.holds(term) else _ended()

        async def on_end(
            result: ChangeResult, message: Message | None, facts: UpstreamFacts
        ) -> None:
            try:
                await self.ledger.end(
                    operation, self._ending(change, operation, result, message, facts)
                )
                self._follow(change, operation.id, priced, result)
            finally:
                await change.slots.leave()

        return ChangeObserver(on_send, on_end, stopped)

    def _ending(
        self,
        change: Change,
        operation: Operation,
        result: ChangeResult,
        message: Message | None,
        facts: UpstreamFacts,
    ) -> Ending:
        if result is not ChangeResult.DONE or message is None:
            return Ending(result)
        note = (
            self.submissions.carried_out(operation, message, facts.request_id, change.losses)
            if change.binding.asynchronous
            else b""
        )
        response = message.SerializeToString()
        return Ending(
            result,
            response if len(response) <= _RESPONSE_CAP else None,
            deltas.created_id(change.binding, message),
            note,
        )

    def _follow(self, change: Change, op_id: str, priced: Priced, result: ChangeResult) -> None:
        """Once the end is recorded: the work that the change started, an outcome that is not known,
        and what comes back to counters.
        """
        binding, project = change.binding, change.scope.project
        works = result is ChangeResult.DONE or (
            result is ChangeResult.UNKNOWN and change.slots.lasting
        )
        if (
            binding.asynchronous
            and works
            and self.submissions.follow(op_id, project, change.slots.lasting)
        ):
            change.slots.hand_over()
        if result is ChangeResult.UNKNOWN:
            self.submissions.doubt(op_id, change.losses)
            self.outcomes.watch(op_id)
        if result is not ChangeResult.NOTHING and priced.give_back:
            self.freed.give_back(binding, project, change.request, priced.give_back, priced.fence)
        elif result is ChangeResult.DONE and binding.traits.resize and not binding.orders:
            self.recounter.soon()


def _ended() -> GatewayError:
    return refusals.store_down("The reservation ended before the change could be sent.")
