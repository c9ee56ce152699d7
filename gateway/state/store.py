"""What must survive a crash or be shared by replicas: one store in the roles of its users.

The store knows no tenant's rules: keys are opaque words, amounts whole numbers from 0 to 2^53 - 1.
What exists is CBR's to know; the store holds what is in flight. Every call may be repeated after a
failure without a second effect, and may raise StoreDown, within the timeout of the settings.
"""

from msgspec import Struct

from gateway.state.channel import Channel
from gateway.state.counters import Counters
from gateway.state.key_value import KeyValue, SingleKeyValue, VersionedKeyValue
from gateway.state.leases import Leases
from gateway.state.life import Life
from gateway.state.operation_store import OperationStore
from gateway.state.queues import Queues
from gateway.state.rates import RateLimiter


class Store(Struct, frozen=True):
    """An open store. Whoever uses it is given only the roles that it needs."""

    operations: OperationStore
    counters: Counters
    rates: RateLimiter
    leases: Leases
    channel: Channel
    overrides: VersionedKeyValue
    """Limits changed while running."""
    anchors: KeyValue
    """Where the audit logs stand, by writer."""
    cursors: SingleKeyValue
    """How far ends of tasks and missed runs were told, by project."""
    queues: Queues
    """Events on their way to sinks, and those that were given up."""
    life: Life
