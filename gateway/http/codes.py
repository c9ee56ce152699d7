"""The codes of calls in the Connect protocol: their names, and the HTTP status of each."""

from typing import Final

from google.rpc import code_pb2

STATUS: Final = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}


def code_name(code: int) -> str:
    """Of a google.rpc.Code."""
    name: str = code_pb2.Code.Name(code).lower()
    return "canceled" if name == "cancelled" else name
