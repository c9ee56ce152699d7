"""What the gateway says when it refuses a call, unpacked from the details of the status."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, Self

import grpc
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from cbrgateway_client.advice import of_answer, of_connection, of_deadline, of_wait

_DETAILS: Final = "grpc-status-details-bin"
_PREFIX: Final = "ERROR_REASON_"


class Kind(StrEnum):
    """Who ended a call."""

    ANSWERED = "answered"
    """The gateway, with a reason."""
    UNREACHABLE = "unreachable"
    """Nobody: none answers at the address."""
    UNTRUSTED = "untrusted"
    """We, since the gateway's certificate is not trusted."""
    EXPIRED_CERTIFICATE = "expired_certificate"
    """We, since the gateway's certificate is out of date, or not valid yet."""
    PLAINTEXT_EXPECTED = "plaintext_expected"
    """The port: it speaks plain text, and we TLS."""
    TLS_EXPECTED = "tls_expected"
    """The port: it speaks TLS, and we plain text."""
    DEADLINE = "deadline"
    OTHER = "other"
    """Something else, such as the caller itself."""


_BY_TEXT: Final = {
    "wrong_version_number": Kind.PLAINTEXT_EXPECTED,
    "certificate has expired": Kind.EXPIRED_CERTIFICATE,
    "certificate is not yet valid": Kind.EXPIRED_CERTIFICATE,
    "certificate verify failed": Kind.UNTRUSTED,
    "certificate_verify_failed": Kind.UNTRUSTED,
    "is not in peer certificate": Kind.UNTRUSTED,
    "hostname verification check failed": Kind.UNTRUSTED,
}
"""Words of gRPC's text, in lower case, about a connection; the first that is found counts."""


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
    still_open: tuple[str, ...] = ()
    """Of a wait whose time was up: the ids of what has not ended."""
    _plaintext = False

    def __init__(self, *status: Any) -> None:  # noqa: ANN401 - the arguments of AioRpcError
        super().__init__(*status)
        found = tuple(_details(dict(self.trailing_metadata() or ()).get(_DETAILS, b"")))
        info = _one(found, error_details_pb2.ErrorInfo())
        self._answered = bool(info.reason)
        self.reason_name: str = info.reason
        """Why, such as `VAULT_NOT_FOUND`; also where `reason` does not know the word."""
        self.reason = reason_of(info.reason)
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
    def of(cls, error: grpc.RpcError, request_id: str = "", *, plaintext: bool = False) -> Self:
        """The same failure, unpacked: of the blocking or the asyncio API.

        `plaintext`: the call was not encrypted.
        """
        if isinstance(error, cls):
            return error
        assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)
        made = cls(error.code(), None, error.trailing_metadata(), error.details())
        made.request_id, made._plaintext = request_id, plaintext
        return made

    @property
    def kind(self) -> Kind:
        """Who ended the call."""
        if self._answered:
            return Kind.ANSWERED
        if self.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Kind.DEADLINE
        if self.code() is not grpc.StatusCode.UNAVAILABLE:
            return Kind.OTHER
        text = (self.details() or "").lower()
        # A connection that was ended before HTTP/2 had begun on it.
        if self._plaintext and "failed to connect" in text and "socket closed" in text:
            return Kind.TLS_EXPECTED
        return next((kind for words, kind in _BY_TEXT.items() if words in text), Kind.UNREACHABLE)

    @property
    def advice(self) -> str:
        """What to do next, where the text does not say it; empty: it does."""
        match self.kind:
            case Kind.DEADLINE:
                return of_wait() if self.still_open else of_deadline(self.request_id)
            case Kind.ANSWERED | Kind.OTHER:
                return of_answer(self.code().name, self.reason_name)
        return of_connection(self.kind, self.details() or "")

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


def reason_in(status: status_pb2.Status) -> str:
    """The name of the reason of an error that stands in an event; empty: it has none."""
    return str(_one(tuple(_known(status)), error_details_pb2.ErrorInfo()).reason)


def _details(packed: str | bytes) -> Iterator[Message]:
    """The details of kinds that we know. A status that cannot be read has none."""
    try:
        status = status_pb2.Status.FromString(
            packed if isinstance(packed, bytes) else packed.encode("latin-1")
        )
        yield from _known(status)
    except DecodeError:
        return


def _known(status: status_pb2.Status) -> Iterator[Message]:
    kinds = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.RequestInfo,
        error_details_pb2.RetryInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.PreconditionFailure,
        error_details_pb2.QuotaFailure,
        error_details_pb2.ResourceInfo,
    )
    for detail in status.details:
        for kind in kinds:
            if detail.Is(kind.DESCRIPTOR):
                yield kind.FromString(detail.value)


def _one(found: tuple[Message, ...], empty: Any) -> Any:  # noqa: ANN401 - of the kind of `empty`
    return next((detail for detail in found if isinstance(detail, type(empty))), empty)


def reason_of(name: str) -> errors_pb2.ErrorReason.ValueType:
    """By its name; OTHER for one that this package does not know."""
    if not name:
        return errors_pb2.ERROR_REASON_UNSPECIFIED
    known = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name.get(_PREFIX + name)
    return (
        errors_pb2.ErrorReason.ValueType(known.number) if known else errors_pb2.ERROR_REASON_OTHER
    )
