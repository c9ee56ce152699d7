"""What is told of a change whose request_id was used before, and of one whose outcome is open."""

import math

from cbrgateway.v1 import errors_pb2
from google.rpc import code_pb2
from msgspec import Struct

from gateway.changes.outcome_search import OutcomeSearch
from gateway.changes.record import undecided
from gateway.clock import moment
from gateway.errors import GatewayError, Violation
from gateway.limits import refusals
from gateway.state import OperationStore, State, StoreDown
from gateway.upstream.declaration import Binding


def not_kept() -> GatewayError:
    text = (
        "The change with this request_id was carried out, but its answer is not kept (too long, or"
        " no longer shown); read it."
    )
    return GatewayError(errors_pb2.ERROR_REASON_EXISTS, text)


def mismatch() -> GatewayError:
    text = "request_id: was used for another request; give every change an id of its own."
    violation = Violation("request_id", "was used for another request", "idempotency")
    return GatewayError(errors_pb2.ERROR_REASON_IDEMPOTENCY_MISMATCH, text, violations=(violation,))


class Repeats(Struct, frozen=True):
    """One per process."""

    operations: OperationStore
    outcomes: OutcomeSearch

    async def still_going(self, op_id: str, binding: Binding) -> GatewayError:
        """The same request was sent before, and it has not ended."""
        try:
            op = await self.operations.get(op_id)
        except StoreDown:
            op = None
        if op is not None and (why := undecided(op)):
            return self.told(_undecided(op_id, why), binding, op_id, op.created_at)
        if op is not None and op.state is State.UNKNOWN:
            return self.told(_unknown(op_id), binding, op_id, op.created_at)
        text = (
            "The change with this request_id is still being carried out; repeat with the same"
            " request_id."
        )
        return GatewayError(
            errors_pb2.ERROR_REASON_REQUEST_IN_PROGRESS, text, retry_after_s=refusals.STORE_RETRY_S
        )

    def told(self, error: GatewayError, binding: Binding, op_id: str, begun: float) -> GatewayError:
        """The error, with by when the outcome is told at the latest, and under which id it can be
        asked for. `begun`: when the change was.
        """
        unknown = error.reason == errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN
        if unknown and (at := self.outcomes.final_by(op_id, begun)) is not None:
            error.metadata = {**error.metadata, "finalBy": moment(math.ceil(at)).ToJsonString()}
        if binding.asynchronous and (
            unknown or error.reason == errors_pb2.ERROR_REASON_OUTCOME_UNDECIDED
        ):
            error.metadata = {**error.metadata, "submission": op_id}
        return error


def _undecided(op_id: str, why: str) -> GatewayError:
    text = (
        "The change with this request_id was sent, and nobody can tell whether CBR carried it out:"
        f" {why}. Look at the object; repeat the change with a new request_id only if it is absent."
        " An administrator settles it with ReleaseReservation."
    )
    return GatewayError(
        errors_pb2.ERROR_REASON_OUTCOME_UNDECIDED, text, metadata={"operation": op_id}
    )


def _unknown(op_id: str) -> GatewayError:
    text = (
        "The change with this request_id was sent, and whether CBR carried it out is not known yet;"
        " repeat with the same request_id."
    )
    return GatewayError(
        errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN,
        text,
        metadata={"operation": op_id},
        code=code_pb2.UNAVAILABLE,
    )
