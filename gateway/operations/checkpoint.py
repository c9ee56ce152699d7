"""CheckpointService."""

from typing import Final

from cbrgateway.v1 import checkpoint_pb2

from gateway.operations.growth import one
from gateway.upstream.amounts import Metric
from gateway.upstream.marker import description
from gateway.upstream.traits import Mark, Traits


def _mark(request: checkpoint_pb2.CreateCheckpointRequest, op_id: str) -> None:
    request.checkpoint.parameters.description = description(op_id)


CREATE_CHECKPOINT: Final = Traits[checkpoint_pb2.CreateCheckpointRequest, checkpoint_pb2.CreateCheckpointResponse](
    rpc="CheckpointService/CreateCheckpoint",
    deltas=one(Metric.CHECKPOINTS_PER_DAY),
    mark=Mark(has_room=lambda request: not request.checkpoint.parameters.HasField("description"), put=_mark),
)

REPLICATE_CHECKPOINT: Final = Traits[checkpoint_pb2.ReplicateCheckpointRequest, checkpoint_pb2.ReplicateCheckpointResponse](
    rpc="CheckpointService/ReplicateCheckpoint",
    heavy=True,
    deltas=one(Metric.REPLICATIONS_PER_DAY),
)
