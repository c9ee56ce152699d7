"""One tenant's way to the gateway: the generated stubs, with its API key on every call."""

from typing import Final, TypeVar

import grpc
from cbrgateway.v1.backup_pb2_grpc import BackupServiceStub
from cbrgateway.v1.backup_share_pb2_grpc import BackupShareServiceStub
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

Request = TypeVar("Request")
Response = TypeVar("Response")
_TIMEOUT_S: Final = 10


class Caller:
    """`caller(caller.vaults.GetVault, GetVaultRequest(...))` makes a call. It raises grpc.RpcError."""

    def __init__(self, channel: grpc.Channel, api_key: str) -> None:
        self._metadata = (("authorization", f"Bearer {api_key}"),)
        self.protectables = ProtectabilityServiceStub(channel)
        self.vaults = VaultServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.checkpoints = CheckpointServiceStub(channel)
        self.tasks = TaskServiceStub(channel)
        self.backups = BackupServiceStub(channel)
        self.shares = BackupShareServiceStub(channel)

    def __call__(self, rpc: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request, *more: tuple[str, str]) -> Response:
        """The answer of `rpc`; `more` is further metadata."""
        return rpc(request, metadata=(*self._metadata, *more), timeout=_TIMEOUT_S)
