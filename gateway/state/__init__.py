"""The durable store: what is in flight, in one embedded file or in a Valkey that replicas share.

See `store.py`.
"""

from gateway.state.heartbeat import Heartbeat
from gateway.state.opening import open_store
from gateway.state.settings import StoreSettings
from gateway.state.store import (
    MAX_AMOUNT,
    OPEN,
    Admitted,
    Begun,
    Bucket,
    Changes,
    Charge,
    Heard,
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
    Total,
    Usage,
    WrongStore,
)

__all__ = [
    "MAX_AMOUNT",
    "OPEN",
    "Admitted",
    "Begun",
    "Bucket",
    "Changes",
    "Charge",
    "Heard",
    "Heartbeat",
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
    "Total",
    "Usage",
    "WrongStore",
    "open_store",
]
