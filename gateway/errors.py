"""The one exception that a call may end with, and the facts it carries.

    GatewayError            reason -> gRPC code; rendered as google.rpc.Status by gateway.rpc.status
      Violation             a field, precondition or limit that was broken
      Resource              the object that the error is about
      UpstreamFacts         what is known of the CBR calls made before the error

A GatewayError's message is public: it is built from fixed sentences and the caller's own input,
never from CBR's texts, host names, credentials, other tenants' data or exceptions of libraries.
Every other exception that reaches the edge becomes INTERNAL with an error id and no text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from cbrgateway.v1 import errors_pb2

from gateway.reasons import REASONS, Reason, reason_name


class Violation(msgspec.Struct, frozen=True):
    """One broken rule.

    `subject`: a proto field path (`vault.billing.size_gib`), a precondition's object or a limit;
    `rule`: a stable word.
    """

    subject: str
    description: str
    rule: str = ""


class QuotaViolation(Violation, frozen=True):
    """A limit of this gateway that did not allow what was asked.

    `subject`: whose limit; `rule`: the limit's name.
    """

    metric: str = ""
    dimensions: Mapping[str, str] = field(default_factory=dict)
    value: int = 0


class Resource(msgspec.Struct, frozen=True):
    """The object that an error is about, such as `vault` and its id. An unknown name is empty."""

    kind: str
    name: str


class UpstreamFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of the CBR calls behind one gateway call.

    `sent`: whether a byte of a read, or of the change itself, was written for CBR: `no`; `maybe`,
    since no answer has come; `yes`, since one has. What is only read for a change does not count,
    but the rest may be told of such a read, which the change ended with. `http_status`, `code` and
    `request_id` are those of the last attempt, and empty when that one had no answer. `seconds`:
    what all attempts took. `order_ids`: orders that its answer names.
    """

    attempts: int = 0
    sent: str = "no"
    http_status: int | None = None
    code: str = ""
    request_id: str = ""
    seconds: float = 0.0
    order_ids: tuple[str, ...] = ()

    def unsent(self) -> "UpstreamFacts":
        """The same of a change for which CBR was only read."""
        return msgspec.structs.replace(self, sent="no") if self.sent != "no" else self

    def as_metadata(self) -> dict[str, str]:
        """ErrorInfo metadata; empty when CBR was not called."""
        if not self.attempts:
            return {}
        known = {"attempts": str(self.attempts), "sent": self.sent}
        if self.http_status is not None:
            known["upstreamHttpStatus"] = str(self.http_status)
        if self.code:
            known["upstreamCode"] = self.code
        if self.request_id:
            known["upstreamRequestId"] = self.request_id
        if self.order_ids:
            known["orderIds"] = ",".join(self.order_ids)
        return known


@dataclass(slots=True, eq=False)
class GatewayError(Exception):
    """A failure with a published reason and a public message of one or two sentences: what is
    wrong, and what to do.
    """

    reason: Reason
    message: str
    violations: Sequence[Violation] = ()
    resource: Resource | None = None
    retry_after_s: float | None = None
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)
    metadata: Mapping[str, str] = field(default_factory=dict)
    trailers: Mapping[str, str] = field(default_factory=dict)
    code: int = -1

    def __post_init__(self) -> None:
        if self.code < 0:
            self.code = REASONS[self.reason].code

    @property
    def expected(self) -> bool:
        """The process ends, as it was told to: nothing to warn of."""
        return self.reason == errors_pb2.ERROR_REASON_SHUTTING_DOWN

    def __str__(self) -> str:
        return f"{reason_name(self.reason)}: {self.message}"


class AnswerTooLarge(GatewayError):  # noqa: N818 - what has happened, as its callers read it
    """UPSTREAM_PROTOCOL for an answer that is larger than one may be: of a list, fewer rows at once
    can be asked for.
    """


def field_invalid(path: str, description: str, rule: str = "") -> GatewayError:
    """INVALID_ARGUMENT for one field of the request; an empty path means the request as a whole."""
    violation = Violation(path, description, rule)
    message = f"{path}: {description}" if path else description
    return GatewayError(errors_pb2.ERROR_REASON_FIELD_INVALID, message, violations=(violation,))
