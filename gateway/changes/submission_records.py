"""Submissions as callers ask for them: the records of their operations."""

import functools
from collections.abc import AsyncIterator

import structlog
from cbrgateway.v1 import errors_pb2, types_pb2
from msgspec import Struct

from gateway.changes.record import NOT_UNDERSTOOD, Note, OperationDetail, submission
from gateway.errors import GatewayError, Resource
from gateway.state import OperationStore, OperationView
from gateway.state.parts import in_parts
from gateway.upstream.catalog import Catalog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SubmissionRecords(Struct, frozen=True):
    """Of all projects."""

    operations: OperationStore
    catalog: Catalog

    async def get(self, submission_id: str, tenant: str, project: str) -> types_pb2.Submission:
        """Raises SUBMISSION_NOT_FOUND, also for one of another tenant or project; StoreDown."""
        op = await self.operations.get(submission_id)
        if (
            op is None
            or not self._asynchronous(op.rpc)
            or op.tenant != tenant
            or (found := _understood(op)) is None
            or found[0].project != project
        ):
            text = (
                "There is no such submission in this project; submissions are kept for 24 hours"
                " after their change ended."
            )
            raise GatewayError(
                errors_pb2.ERROR_REASON_SUBMISSION_NOT_FOUND,
                text,
                resource=Resource("submission", submission_id),
            )
        return submission(op, *found)

    def _asynchronous(self, rpc: str) -> bool:
        return rpc in self.catalog.bindings and self.catalog[rpc].asynchronous

    async def recent(
        self, tenant: str, project: str, before: str, most: int
    ) -> AsyncIterator[tuple[str, types_pb2.Submission]]:
        """Those before a position (empty: all), newest first, each with its own.

        `most` are read at first. Raises StoreDown.
        """
        async for op in in_parts(functools.partial(self.operations.recent, project), before, most):
            if op.tenant == tenant and (found := _understood(op)) is not None:
                yield op.position, submission(op, *found)


def _understood(op: OperationView) -> tuple[OperationDetail, Note | None] | None:
    """None for one that stops none of the others."""
    try:
        return OperationDetail.of(op.detail), Note.of(op.note)
    except NOT_UNDERSTOOD as error:
        log.error(  # noqa: TRY400 - says it all
            "a submission in the store is not understood and is not shown",
            op=op.id,
            operation=op.rpc,
            error=repr(error),
        )
        return None
