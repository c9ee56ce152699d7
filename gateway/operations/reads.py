"""The reads of one object, by its id, that changes of several kinds are checked by."""

from typing import Final

from cbrgateway.v1 import (
    agent_pb2,
    backup_pb2,
    checkpoint_pb2,
    organization_policy_pb2,
    policy_pb2,
    vault_pb2,
)

from gateway.upstream.traits import Read

AGENT: Final = Read(
    lambda id_: agent_pb2.GetAgentRequest(agent_id=id_),
    agent_pb2.GetAgentResponse,
)
BACKUP: Final = Read(
    lambda id_: backup_pb2.GetBackupRequest(backup_id=id_),
    backup_pb2.GetBackupResponse,
)
CHECKPOINT: Final = Read(
    lambda id_: checkpoint_pb2.GetCheckpointRequest(checkpoint_id=id_),
    checkpoint_pb2.GetCheckpointResponse,
)
ORGANIZATION_POLICY: Final = Read(
    lambda id_: organization_policy_pb2.GetOrganizationPolicyRequest(organization_policy_id=id_),
    organization_policy_pb2.GetOrganizationPolicyResponse,
)
POLICY: Final = Read(
    lambda id_: policy_pb2.GetPolicyRequest(policy_id=id_),
    policy_pb2.GetPolicyResponse,
)
VAULT: Final = Read(
    lambda id_: vault_pb2.GetVaultRequest(vault_id=id_),
    vault_pb2.GetVaultResponse,
)
