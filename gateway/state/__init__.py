"""The durable store: what is in flight, in one embedded file or in a Valkey that replicas share. See `store.py`."""

from gateway.state.opening import open_store
from gateway.state.settings import StoreSettings
from gateway.state.store import (
    Admitted,
    Begun,
    Bucket,
    Charge,
    IllegalTransition,
    InProgress,
    Leased,
    Mismatch,
    Operation,
    OperationView,
    Refused,
    Replay,
    Shortage,
    Slot,
    State,
    Store,
    StoreDown,
    Taken,
    Usage,
)

__all__ = [
    "Admitted",
    "Begun",
    "Bucket",
    "Charge",
    "IllegalTransition",
    "InProgress",
    "Leased",
    "Mismatch",
    "Operation",
    "OperationView",
    "Refused",
    "Replay",
    "Shortage",
    "Slot",
    "State",
    "Store",
    "StoreDown",
    "StoreSettings",
    "Taken",
    "Usage",
    "open_store",
]
