"""What the metrics of a running gateway say after things have happened to it."""

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
ADMIN = {"admin": {"listen": "127.0.0.1:0"}}
SAMPLED = ADMIN | {"metrics": {"sample_s": 0.05}}
GET = {
    "grpc_type": "unary",
    "grpc_service": "cbrgateway.v1.VaultService",
    "grpc_method": "GetVault",
}
