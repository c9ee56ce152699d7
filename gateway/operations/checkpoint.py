"""CheckpointService."""

from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import checkpoint_pb2, task_pb2

from gateway.operations import checkpoint_state
from gateway.operations.growth import one
from gateway.operations.reads import CHECKPOINT
from gateway.operations.searches import REPLICATIONS, ids
from gateway.upstream.amounts import Metric
from gateway.upstream.marker import description
from gateway.upstream.task_search import Search, Task
from gateway.upstream.traits import Fields, Mark, ObjectRead, Result, Traits


def _mark(request: checkpoint_pb2.CreateCheckpointRequest, op_id: str) -> None:
    request.checkpoint.parameters.description = description(op_id)


def _backing_up(
    request: checkpoint_pb2.CreateCheckpointRequest,
    answer: checkpoint_pb2.CreateCheckpointResponse | None,
) -> Search:
    wanted, kinds = request.checkpoint, (task_pb2.TASK_TYPE_BACKUP,)
    parameters = wanted.parameters
    asked = {*parameters.resource_ids, *(resource.id for resource in parameters.resource_details)}
    if answer is None or not answer.checkpoint.id:
        return Search(
            kinds,
            tuple(sorted(asked)),
            countable=bool(asked),
            vault_id=wanted.vault_id,
            policy_id=parameters.policy_id,
        )
    vault = answer.checkpoint.vault
    backed_up = (asked or {resource.id for resource in vault.resources}) - {
        resource.id for resource in vault.skipped_resources
    }
    return Search(
        kinds,
        tuple(sorted(backed_up)),
        countable=bool(backed_up),
        vault_id=wanted.vault_id,
        checkpoint_id=answer.checkpoint.id,
        policy_id=parameters.policy_id,
    )


_RESULT: Final = Result[checkpoint_pb2.GetCheckpointResponse](
    shown_by=ObjectRead(CHECKPOINT, lambda task: task.checkpoint_id),
    response=lambda seen: {"checkpoint": seen.checkpoint},
)

CREATE_CHECKPOINT: Final = Traits[
    checkpoint_pb2.CreateCheckpointRequest, checkpoint_pb2.CreateCheckpointResponse
](
    rpc="CheckpointService/CreateCheckpoint",
    refused=checkpoint_state.checkpoint_refused,
    deltas=one(Metric.CHECKPOINTS_PER_DAY),
    search=_backing_up,
    description=lambda request: request.checkpoint.parameters.description,
    result=_RESULT,
    mark=Mark(
        has_room=lambda request, _most: not request.checkpoint.parameters.HasField("description"),
        put=_mark,
    ),
)


def _replicating(
    request: checkpoint_pb2.ReplicateCheckpointRequest,
    answer: checkpoint_pb2.ReplicateCheckpointResponse | None,
) -> Search:
    wanted = request.replicate
    backups = tuple(each.backup_id for each in answer.replication.backups) if answer else ()
    destination = wanted.destination_project_id
    return Search(
        REPLICATIONS,
        backups,
        countable=bool(backups),
        vault_id=wanted.vault_id,
        destination_project_id=destination,
    )


def _replication(
    request: checkpoint_pb2.ReplicateCheckpointRequest, _tasks: Sequence[Task]
) -> Fields:
    """What was asked for; which backups the replication takes only CBR's own answer tells."""
    known = checkpoint_pb2.CheckpointReplication.DESCRIPTOR.fields_by_name
    return {
        "replication": {
            fd.name: value for fd, value in request.replicate.ListFields() if fd.name in known
        }
    }


REPLICATE_CHECKPOINT: Final = Traits[
    checkpoint_pb2.ReplicateCheckpointRequest, checkpoint_pb2.ReplicateCheckpointResponse
](
    rpc="CheckpointService/ReplicateCheckpoint",
    refused=checkpoint_state.replication_refused,
    deltas=one(Metric.REPLICATIONS_PER_DAY),
    search=_replicating,
    answer=_replication,
)

SYNC_CHECKPOINT: Final = Traits[
    checkpoint_pb2.SyncCheckpointRequest, checkpoint_pb2.SyncCheckpointResponse
](
    rpc="CheckpointService/SyncCheckpoint",
    refused=checkpoint_state.synchronisation_refused,
    search=lambda request, answer: Search(
        (task_pb2.TASK_TYPE_SYNC,),
        (request.sync.vault_id,),
        named=ids(answer and answer.sync.task_id),
    ),
    answer=lambda _request, tasks: {
        "sync": {"task_id": tasks[0].id, "vault_id": tasks[0].vault_id}
    },
)
