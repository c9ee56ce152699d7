"""Three mistakes that everybody makes once, and what the gateway answers."""

from collections.abc import Callable, Iterable
from typing import Final

import grpc
from cbrgateway.v1 import protectability_pb2, types_pb2, vault_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from devstack.caller import Caller
from devstack.screen import Screen
from devstack.surprise import Surprise, expect
from devstack.tenants import DATABASES

_DETAILS: Final = (
    error_details_pb2.BadRequest,
    error_details_pb2.PreconditionFailure,
    error_details_pb2.QuotaFailure,
    error_details_pb2.ResourceInfo,
    error_details_pb2.RetryInfo,
)


def make_mistakes(
    caller: Caller, screen: Screen, server: protectability_pb2.Protectable, other_vault_id: str
) -> None:
    """`server` is in a vault, and that is not the other one.

    Raises Surprise for any answer but the right refusal.
    """
    screen.step(f"A mistake: {server.name} into a second vault")
    resource = types_pb2.ResourceRef(id=server.id, type=server.type)
    add = vault_pb2.AddVaultResourcesRequest(vault_id=other_vault_id, resources=[resource])
    _refused(
        screen,
        lambda: caller.vaults.AddVaultResources(add),
        grpc.StatusCode.FAILED_PRECONDITION,
        "RESOURCE_IN_OTHER_VAULT",
    )

    screen.step("A mistake: a vault of 5 GiB")
    billing = vault_pb2.BillingSpec(
        consistent_level=types_pb2.CONSISTENT_LEVEL_CRASH_CONSISTENT,
        object_type=types_pb2.OBJECT_TYPE_SERVER,
        protect_type=types_pb2.PROTECT_TYPE_BACKUP,
        size_gib=5,
    )
    create = vault_pb2.CreateVaultRequest(
        vault=vault_pb2.VaultSpec(name="too-small", billing=billing)
    )
    _refused(
        screen,
        lambda: caller.vaults.CreateVault(create),
        grpc.StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
    )

    screen.step(f"A mistake: the project of the tenant {DATABASES.name}")
    project = (("x-cbr-project-id", DATABASES.project_id),)
    call = vault_pb2.ListVaultsRequest()
    _refused(
        screen,
        lambda: caller.vaults.ListVaults(call, metadata=project),
        grpc.StatusCode.PERMISSION_DENIED,
        "PROJECT_DENIED",
    )


def _refused(
    screen: Screen, call: Callable[[], Message], code: grpc.StatusCode, reason: str
) -> None:
    """Makes a call that must be refused in this way, and shows the refusal."""
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        expect(status is not None, f"a bare error without details: {error}")
        info = error_details_pb2.ErrorInfo()
        unpacked = [detail.Unpack(info) for detail in status.details]
        expect(any(unpacked), "a status without ErrorInfo")
        screen.say(f"code     {error.code().name}")
        screen.say(f"reason   {info.reason}")
        screen.say(f"message  {status.message}")
        for line in _details(status.details):
            screen.say(f"details  {line}")
        expect(
            (error.code(), info.reason) == (code, reason),
            f"it should have been {code.name}, {reason}",
        )
    else:
        raise Surprise(f"the call was not refused with {reason}")


def _details(packed: Iterable[Any]) -> list[str]:
    """One line for each detail besides ErrorInfo and RequestInfo:
    `BadRequest: field_violations { ... }`.
    """
    lines = []
    for detail in packed:
        for kind in _DETAILS:
            known = kind()
            if detail.Unpack(known):
                lines.append(f"{kind.DESCRIPTOR.name}: {' '.join(str(known).split())}")
    return lines
