"""One tenant's way to the gateway: the generated stubs over a channel of the Python client."""

import grpc
from cbrgateway.v1.backup_pb2_grpc import BackupServiceStub
from cbrgateway.v1.backup_share_pb2_grpc import BackupShareServiceStub
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub


class Caller:
    """`caller.vaults.GetVault(GetVaultRequest(...))` makes a call. It raises CallError."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.protectables = ProtectabilityServiceStub(channel)
        self.vaults = VaultServiceStub(channel)
        self.policies = PolicyServiceStub(channel)
        self.checkpoints = CheckpointServiceStub(channel)
        self.tasks = TaskServiceStub(channel)
        self.backups = BackupServiceStub(channel)
        self.shares = BackupShareServiceStub(channel)
