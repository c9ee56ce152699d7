"""The durable store: what is in flight, in one embedded file or in a Valkey that replicas share.

See `store.py`.
"""

from gateway.state.channel import Channel, Heard
from gateway.state.counters import MAX_AMOUNT, Charge, Counters, Refused, Shortage, Total, Usage
from gateway.state.errors import StoreDown, StoreHeld, WrongStore
from gateway.state.heartbeat import Heartbeat
from gateway.state.key_value import KeyValue, SingleKeyValue, VersionedKeyValue
from gateway.state.leases import Leased, Leases, Slot
from gateway.state.life import Life
from gateway.state.opening import open_store, try_store
from gateway.state.operation import (
    OPEN,
    Admitted,
    Begun,
    Changes,
    InProgress,
    Mismatch,
    Operation,
    OperationView,
    Replay,
    State,
)
from gateway.state.operation_store import OperationStore
from gateway.state.queues import Queued, Queues
from gateway.state.rates import Bucket, RateLimiter, Taken
from gateway.state.settings import StoreSettings
from gateway.state.store import Store

__all__ = [
    "MAX_AMOUNT",
    "OPEN",
    "Admitted",
    "Begun",
    "Bucket",
    "Changes",
    "Channel",
    "Charge",
    "Counters",
    "Heard",
    "Heartbeat",
    "InProgress",
    "KeyValue",
    "Leased",
    "Leases",
    "Life",
    "Mismatch",
    "Operation",
    "OperationStore",
    "OperationView",
    "Queued",
    "Queues",
    "RateLimiter",
    "Refused",
    "Replay",
    "Shortage",
    "SingleKeyValue",
    "Slot",
    "State",
    "Store",
    "StoreDown",
    "StoreHeld",
    "StoreSettings",
    "Taken",
    "Total",
    "Usage",
    "VersionedKeyValue",
    "WrongStore",
    "open_store",
    "try_store",
]
