"""One operation whose outcome is not known, and the reads to look for it with."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from gateway.state import OperationView
from gateway.tasks.claims import Claims
from gateway.tasks.record import Trace
from gateway.tasks.truth import Truth
from gateway.upstream.declaration import Binding


@dataclass(frozen=True, slots=True)
class Case:
    """`request`: as the caller sent it."""

    op: OperationView
    trace: Trace
    request: Any
    truth: Truth
    claims: Claims

    @property
    def binding(self) -> Binding:
        return self.truth.catalog[self.op.rpc]

    @property
    def project(self) -> str:
        return self.trace.project

    def response(self, **fields: object) -> Message:
        return self.binding.response_type(**fields)
