"""The published reasons of errors, and what errors.proto declares of each: gRPC code, who refuses,
when a repeat may help, and what to do.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from cbrgateway.v1 import errors_pb2, options_pb2
from google.protobuf.descriptor import EnumDescriptor, EnumValueDescriptor
from google.rpc import code_pb2
from msgspec import Struct

Reason: TypeAlias = errors_pb2.ErrorReason.ValueType

_PREFIX: Final = "ERROR_REASON_"
_NEVER_RAISED: Final = frozenset(
    {errors_pb2.ERROR_REASON_UNSPECIFIED, errors_pb2.ERROR_REASON_OTHER}
)
_REFUSALS: Final[Mapping[int, frozenset[options_pb2.Refusal.ValueType]]] = {
    code_pb2.UNAUTHENTICATED: frozenset({options_pb2.REFUSAL_ACCESS}),
    code_pb2.PERMISSION_DENIED: frozenset(
        {options_pb2.REFUSAL_ACCESS, options_pb2.REFUSAL_UPSTREAM}
    ),
    code_pb2.RESOURCE_EXHAUSTED: frozenset(
        {options_pb2.REFUSAL_LIMIT, options_pb2.REFUSAL_OVERLOAD}
    ),
}
"""Who may refuse with a code; with every other one nobody does."""
_REPEATED: Final = frozenset({code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED})
"""The codes with which a later repeat is safe and may succeed."""
_LASTING: Final = frozenset(
    {
        code_pb2.UNAUTHENTICATED,
        code_pb2.PERMISSION_DENIED,
        code_pb2.FAILED_PRECONDITION,
        code_pb2.UNIMPLEMENTED,
    }
)
"""The codes with which repeating alone does not help."""


class Failure(Struct, frozen=True):
    """What follows from a reason.

    `refusal`: a value of Refusal. `pushback`: the delay is sent as `grpc-retry-pushback-ms`, too.
    `retry_after_s`: the delay where CBR names none. `lasting`: repeating alone does not help.
    `about`: kind of the object that an error of CBR is about.
    """

    code: code_pb2.Code.ValueType
    refusal: options_pb2.Refusal.ValueType
    pushback: bool
    retry_after_s: float | None = None
    advice: str = ""
    lasting: bool = False
    about: str = ""

    @property
    def denied(self) -> bool:
        """The caller may not make the call."""
        return self.refusal == options_pb2.REFUSAL_ACCESS

    @property
    def limited(self) -> bool:
        """A limit of this gateway does not allow the call."""
        return self.refusal == options_pb2.REFUSAL_LIMIT


NOT_FAILED: Final = Failure(code_pb2.OK, options_pb2.REFUSAL_UNSPECIFIED, pushback=False)


class UndeclaredError(Exception):
    """Reasons whose declarations are missing or wrong, one line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("errors.proto cannot be used:\n  " + "\n  ".join(problems))


def read(reasons: EnumDescriptor) -> Mapping[Reason, Failure]:
    """What each reason declares. Raises UndeclaredError with all that is wrong."""
    raised = [value for value in reasons.values if value.number not in _NEVER_RAISED]
    if problems := [f"{value.name}: {text}" for value in raised for text in _problems(value)]:
        raise UndeclaredError(problems)
    return {errors_pb2.ErrorReason.ValueType(value.number): _declared(value) for value in raised}


def _declared(value: EnumValueDescriptor) -> Failure:
    failure = value.GetOptions().Extensions[options_pb2.failure]
    return Failure(
        failure.code,
        failure.refusal,
        failure.pushback,
        float(failure.retry_after_s) or None,
        failure.advice,
        failure.lasting or failure.code in _LASTING,
        failure.about,
    )


def _problems(value: EnumValueDescriptor) -> Iterator[str]:
    declared = _declared(value)
    code = code_pb2.Code.Name(declared.code)
    if declared.code == code_pb2.OK:
        yield "has no (cbrgateway.v1.failure) option with a code"
        return
    allowed = _REFUSALS.get(declared.code, frozenset({options_pb2.REFUSAL_UNSPECIFIED}))
    if declared.refusal not in allowed:
        names = " or ".join(options_pb2.Refusal.Name(each) for each in sorted(allowed))
        yield (
            f"has the code {code} and the refusal {options_pb2.Refusal.Name(declared.refusal)}; it"
            f" must be {names}"
        )
    if declared.pushback and declared.code not in _REPEATED:
        yield (
            f"has pushback and the code {code}, with which a call must not be repeated; some"
            " clients would"
        )
    if declared.retry_after_s is not None and declared.lasting:
        yield f"has retry_after_s, and with {code} repeating alone does not help"


REASONS: Final = read(errors_pb2.ErrorReason.DESCRIPTOR)
"""Of every reason that is raised.

OUTCOME_UNKNOWN alone may be raised with another code (UNAVAILABLE).
"""


def reason_name(reason: Reason) -> str:
    """The reason as ErrorInfo carries it: `VAULT_NOT_FOUND`."""
    return errors_pb2.ErrorReason.Name(reason).removeprefix(_PREFIX)


def reason_of(name: str) -> Reason:
    """The reason by its name in ErrorInfo."""
    return errors_pb2.ErrorReason.Value(f"{_PREFIX}{name}")
