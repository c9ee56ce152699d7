"""Gateways with limits, calls to them, and what they ended with."""

import os

import grpc
from cbrgateway.v1 import vault_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.harness import running_gateway

SOAK = bool(os.environ.get("QUOTA_SOAK"))


def often(small, full):
    """How often: a little in every test run, fully in `make soak-quota`."""
    return full if SOAK else small


def limit(metric, level, value=0, **more):
    return {"metric": metric, "level": level, "value": value, **more}


def rate(per_second, burst, level="tenant", **more):
    return {"metric": "requests", "level": level, "per_second": per_second, "burst": burst, **more}


def gateway(*limits, **more):
    sections = {
        "limits": list(limits),
        "quota": {"sweep_s": 1, "settle_s": 1},
        **more.pop("sections", {}),
    }
    # As many calls at once as a test likes.
    server = {
        "limits": {"max_pending_requests": 1000, "max_concurrent_streams": 1000},
        **more.pop("server", {}),
    }
    return running_gateway(server, sections, **more)


def new_vault(number=0, size=10, request_id="", **more):
    return vault_pb2.CreateVaultRequest(
        vault={
            "name": f"vault-{number}",
            "billing": {
                "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
                "object_type": "OBJECT_TYPE_SERVER",
                "protect_type": "PROTECT_TYPE_BACKUP",
                "size_gib": size,
            },
            **more,
        },
        request_id=request_id,
    )


class Outcome:
    """How a call ended: its response or the reason of its error, and its trailers."""

    def __init__(self, response, error, trailers):
        self.response = response
        self.trailers = dict(trailers)
        self.details = {}
        self.reason = "OK"
        if error is not None:
            self.code = error.code()
            status = rpc_status.from_call(error)
            for packed in status.details if status else ():
                for kind in (
                    error_details_pb2.ErrorInfo,
                    error_details_pb2.QuotaFailure,
                    error_details_pb2.RetryInfo,
                ):
                    if packed.Is(kind.DESCRIPTOR):
                        found = kind()
                        packed.Unpack(found)
                        self.details[kind.__name__] = found
            # What no gateway has answered, such as the end of its process, has no details.
            self.reason = self.details["ErrorInfo"].reason if self.details else self.code.name

    @property
    def violations(self):
        return list(self.details["QuotaFailure"].violations)


async def outcome(world, method, request, tenant="payments", within_s=30):
    call = method(request, metadata=world.metadata(tenant), timeout=within_s)
    try:
        response = await call
    except grpc.aio.AioRpcError as error:
        return Outcome(None, error, error.trailing_metadata())
    return Outcome(response, None, await call.trailing_metadata())


def posts(world, operation="CreateVault", *, committed=None):
    return [
        entry
        for entry in world.emulator.state.truth.entries()
        if entry.operation == operation and (committed is None or entry.committed == committed)
    ]


async def usage(world, *keys):
    return await world.app.store.counters.usage(keys)
