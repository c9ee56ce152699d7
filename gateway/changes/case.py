"""One operation whose outcome is not known, and the reads to look for it with."""

from typing import Any

from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.claims import Claims
from gateway.changes.record import OperationDetail
from gateway.state import OperationView
from gateway.upstream.declaration import Binding
from gateway.upstream.reader import UpstreamReader


class Case(Struct, frozen=True):
    """`request`: as the caller sent it; `missed`: CBR was asked since the answer was lost, and did
    not show what the change came to.
    """

    op: OperationView
    trace: OperationDetail
    request: Any
    reader: UpstreamReader
    claims: Claims
    missed: bool = False

    @property
    def binding(self) -> Binding:
        return self.reader.catalog[self.op.rpc]

    @property
    def project(self) -> str:
        return self.trace.project

    def response(self, **fields: object) -> Message:
        return self.binding.response_type(**fields)
