"""What is recorded of the changes and streams that a process has left open which is not there any
more.
"""

from gateway.audit import events
from gateway.audit.files import Entry
from gateway.audit.intents import UNKNOWN
from gateway.audit.own import own_record
from gateway.audit.record import OpenIntent


def unresolved(left: OpenIntent) -> Entry:
    """That nobody knows what became of it."""
    event = events.STREAM_UNRESOLVED if left.stream else events.CHANGE_UNRESOLVED
    body = own_record(
        event, subject=left.uid, tenant=left.tenant, operation=left.operation, fate=UNKNOWN
    )
    return Entry(body, ends=(left.uid, UNKNOWN))
