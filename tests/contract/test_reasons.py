"""What errors.proto declares of each reason is all there is: what is missing, or contradicts
itself, is refused before anything is served.
"""

import pytest
from cbrgateway.v1 import errors_pb2, options_pb2
from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import code_pb2

from gateway.reasons import REASONS, UndeclaredError, read

NEVER_RAISED = {errors_pb2.ERROR_REASON_UNSPECIFIED, errors_pb2.ERROR_REASON_OTHER}
MISSING = "ERROR_REASON_NEW: has no (cbrgateway.v1.failure) option with a code"
NEEDS_ACCESS = "ERROR_REASON_NEW: has the code {} and the refusal {}; it must be {}"
UNSAFE = (
    "ERROR_REASON_NEW: has pushback and the code {}, with which a call must not be repeated; some"
    " clients would"
)
VAIN = "ERROR_REASON_NEW: has retry_after_s, and with {} repeating alone does not help"


def declaring(change):
    """The enum of errors.proto with one more reason."""
    reasons = EnumDescriptorProto()
    errors_pb2.ErrorReason.DESCRIPTOR.CopyToProto(reasons)
    added = reasons.value.add(name="ERROR_REASON_NEW", number=9999)
    if change is not None:
        failure = added.options.Extensions[options_pb2.failure]
        failure.SetInParent()
        for name, value in change.items():
            setattr(failure, name, value)
    pool = DescriptorPool()
    pool.Add(
        FileDescriptorProto(name="test.proto", package="test", syntax="proto3", enum_type=[reasons])
    )
    return pool.FindEnumTypeByName(f"test.{reasons.name}")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (None, MISSING),
        ({"pushback": True}, MISSING),
        (
            {"code": code_pb2.RESOURCE_EXHAUSTED},
            NEEDS_ACCESS.format(
                "RESOURCE_EXHAUSTED", "REFUSAL_UNSPECIFIED", "REFUSAL_LIMIT or REFUSAL_OVERLOAD"
            ),
        ),
        (
            {"code": code_pb2.RESOURCE_EXHAUSTED, "refusal": options_pb2.REFUSAL_ACCESS},
            NEEDS_ACCESS.format(
                "RESOURCE_EXHAUSTED", "REFUSAL_ACCESS", "REFUSAL_LIMIT or REFUSAL_OVERLOAD"
            ),
        ),
        (
            {"code": code_pb2.PERMISSION_DENIED},
            NEEDS_ACCESS.format(
                "PERMISSION_DENIED", "REFUSAL_UNSPECIFIED", "REFUSAL_ACCESS or REFUSAL_UPSTREAM"
            ),
        ),
        (
            {"code": code_pb2.UNAUTHENTICATED},
            NEEDS_ACCESS.format("UNAUTHENTICATED", "REFUSAL_UNSPECIFIED", "REFUSAL_ACCESS"),
        ),
        (
            {"code": code_pb2.INTERNAL, "refusal": options_pb2.REFUSAL_LIMIT},
            NEEDS_ACCESS.format("INTERNAL", "REFUSAL_LIMIT", "REFUSAL_UNSPECIFIED"),
        ),
        ({"code": code_pb2.UNKNOWN, "pushback": True}, UNSAFE.format("UNKNOWN")),
        ({"code": code_pb2.ABORTED, "pushback": True}, UNSAFE.format("ABORTED")),
        ({"code": code_pb2.UNIMPLEMENTED, "retry_after_s": 1}, VAIN.format("UNIMPLEMENTED")),
        (
            {"code": code_pb2.INTERNAL, "retry_after_s": 1, "lasting": True},
            VAIN.format("INTERNAL"),
        ),
    ],
)
def test_a_reason_whose_declaration_is_missing_or_wrong_is_refused(change, problem):
    with pytest.raises(UndeclaredError) as caught:
        read(declaring(change))
    assert str(caught.value) == f"errors.proto cannot be used:\n  {problem}"


def test_every_reason_but_those_that_are_never_raised_is_declared():
    assert (
        set(REASONS)
        == {value.number for value in errors_pb2.ErrorReason.DESCRIPTOR.values} - NEVER_RAISED
    )
    assert read(
        declaring({"code": code_pb2.RESOURCE_EXHAUSTED, "refusal": options_pb2.REFUSAL_LIMIT})
    )[9999].limited


@pytest.mark.parametrize("reason", sorted(REASONS), ids=errors_pb2.ErrorReason.Name)
def test_what_the_names_say_is_declared(reason):
    """A second source: reasons named `..._LIMIT` are limits, those of credentials and permissions
    are denials, unless they are CBR's.
    """
    name = errors_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    ours = not name.startswith("UPSTREAM_")
    assert REASONS[reason].limited == (ours and name.endswith("_LIMIT"))
    assert REASONS[reason].denied == (
        ours and REASONS[reason].code in {code_pb2.UNAUTHENTICATED, code_pb2.PERMISSION_DENIED}
    )
