"""What the gateway says when it refuses a call, unpacked from the details of the status."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, Self

import grpc
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from cbrgateway_client.advice import of_answer, of_connection, of_deadline

_DETAILS: Final = "grpc-status-details-bin"
_PREFIX: Final = "ERROR_REASON_"
_UNTRUSTED: Final = (
    "certificate verify failed",
    "certificate_verify_failed",
    "is not in peer certificate",
    "hostname verification check failed",
)


class Kind(StrEnum):
    """Who ended a call."""

    ANSWERED = "answered"
    """The gateway, with a reason."""
    UNREACHABLE = "unreachable"
    """Nobody: none answers at the address."""
    UNTRUSTED = "untrusted"
    """We, since the gateway's certificate is not trusted."""
    DEADLINE = "deadline"
    OTHER = "other"
    """Something else, such as the caller itself."""


class CallError(grpc.aio.AioRpcError):
    """A call that failed.

    `code()`, `details()` and `trailing_metadata()` are gRPC's own; the rest is what the gateway
    adds.

    Where something between caller and gateway ended the call, such as a lost connection, `reason`
    is UNSPECIFIED and everything else is empty.
    """

    request_id = ""
    """The request_id that the change was sent with.

    Send the change again with it, and it is made once, whatever became of the first try.
    """

    def __init__(self, *status: Any) -> None:  # noqa: ANN401 - the arguments of AioRpcError
        super().__init__(*status)
        found = tuple(_details(dict(self.trailing_metadata() or ()).get(_DETAILS, b"")))
        info = _one(found, error_details_pb2.ErrorInfo())
        self.kind = _kind(self.code(), self.details() or "", answered=bool(info.reason))
        self.reason_name: str = info.reason
        """Why, such as `VAULT_NOT_FOUND`; also where `reason` does not know the word."""
        self.reason = _reason(info.reason)
        """Why, as cbrgateway.v1.ErrorReason. OTHER: the gateway is newer than this package."""
        self.facts = dict(info.metadata)
        """Facts about the call: `attempts` and `sent` where CBR was called, and more."""
        self.call_id: str = _one(found, error_details_pb2.RequestInfo()).request_id
        """The gateway's name for this call, as in its log.

        Give it to the gateway's operator with questions.
        """
        self.field_violations = tuple(_one(found, error_details_pb2.BadRequest()).field_violations)
        """For INVALID_ARGUMENT: the field, what is wrong, and the rule."""
        self.precondition_violations = tuple(
            _one(found, error_details_pb2.PreconditionFailure()).violations
        )
        """For FAILED_PRECONDITION: what stands in the way."""
        self.quota_violations = tuple(_one(found, error_details_pb2.QuotaFailure()).violations)
        """For RESOURCE_EXHAUSTED: each limit that does not allow the call."""
        self.resource = next(
            (detail for detail in found if isinstance(detail, error_details_pb2.ResourceInfo)), None
        )
        """What the call is about, such as the vault that is missing.

        None: the gateway names nothing.
        """
        retry = next(
            (detail for detail in found if isinstance(detail, error_details_pb2.RetryInfo)), None
        )
        self.retry_delay_s: float | None = (
            retry.retry_delay.ToTimedelta().total_seconds() if retry else None
        )
        """After which time the call may succeed. None: nothing is known."""

    @classmethod
    def of(cls, error: grpc.RpcError, request_id: str = "") -> Self:
        """The same failure, unpacked: of the blocking or the asyncio API."""
        if isinstance(error, cls):
            return error
        assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)
        made = cls(error.code(), None, error.trailing_metadata(), error.details())
        made.request_id = request_id
        return made

    @property
    def advice(self) -> str:
        """What to do next, where the text does not say it; empty: it does."""
        match self.kind:
            case Kind.UNREACHABLE | Kind.UNTRUSTED:
                return of_connection(self.details() or "", untrusted=self.kind is Kind.UNTRUSTED)
            case Kind.DEADLINE:
                return of_deadline(self.request_id)
        return of_answer(self.code().name, self.reason_name)

    def __str__(self) -> str:
        """What happened; and below it every broken field, what to do, and the ids to ask or to
        repeat with.
        """
        head = (
            f"{self.code().name}{f' ({self.reason_name})' if self.reason_name else ''}:"
            f" {self.details()}"
        )
        fields = self.field_violations if len(self.field_violations) > 1 else ()
        ids = (("request_id", self.request_id), ("call", self.call_id))
        return "\n  ".join(
            (
                head,
                *(f"{each.field}: {each.description}" for each in fields),
                *([self.advice] if self.advice else []),
                *(f"{name} {value}" for name, value in ids if value),
            )
        )


def _kind(code: grpc.StatusCode, text: str, *, answered: bool) -> Kind:
    if answered:
        return Kind.ANSWERED
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Kind.DEADLINE
    if code is not grpc.StatusCode.UNAVAILABLE:
        return Kind.OTHER
    return (
        Kind.UNTRUSTED if any(words in text.lower() for words in _UNTRUSTED) else Kind.UNREACHABLE
    )


def _details(packed: str | bytes) -> Iterator[Message]:
    """The details of kinds that we know. A status that cannot be read has none."""
    kinds = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.RequestInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.PreconditionFailure,
        error_details_pb2.QuotaFailure,
        error_details_pb2.ResourceInfo,
    )
    try:
        status = status_pb2.Status.FromString(
            packed if isinstance(packed, bytes) else packed.encode("latin-1")
        )
        for detail in status.details:
            for kind in kinds:
                if detail.Is(kind.DESCRIPTOR):
                    yield kind.FromString(detail.value)
    except DecodeError:
        return


def _one(found: tuple[Message, ...], empty: Any) -> Any:  # noqa: ANN401 - of the kind of `empty`
    return next((detail for detail in found if isinstance(detail, type(empty))), empty)


def _reason(name: str) -> errors_pb2.ErrorReason.ValueType:
    if not name:
        return errors_pb2.ERROR_REASON_UNSPECIFIED
    known = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name.get(_PREFIX + name)
    return (
        errors_pb2.ErrorReason.ValueType(known.number) if known else errors_pb2.ERROR_REASON_OTHER
    )
