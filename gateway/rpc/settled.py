"""What is recorded of a change whose result was learnt after its call had ended: whose it was, and
what it was about.
"""

from itertools import islice

import msgspec
from google.protobuf.message import DecodeError

from gateway.audit.log import Settled
from gateway.changes.ledger import AnyOperation, Ending
from gateway.changes.record import Note, OperationDetail
from gateway.rpc.audited import MAX_RESOURCES, made_by, named_by, skipped_told
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding


def settled(catalog: Catalog, op: AnyOperation, ending: Ending) -> Settled:
    """From what is stored with the change, and how it ended; nothing, where that is not understood:
    another version may have stored it.
    """
    try:
        return _understood(catalog, op, ending)
    except (KeyError, DecodeError, msgspec.MsgspecError):
        return Settled()


def _understood(catalog: Catalog, op: AnyOperation, ending: Ending) -> Settled:
    detail, note = OperationDetail.of(op.detail), Note.of(ending.note)
    found = dict.fromkeys(_objects(catalog[op.rpc], detail.request, ending))
    return Settled(
        principal=detail.principal.rpartition("/")[2],
        project=detail.project.partition("/")[0],
        resources=tuple(islice(found, MAX_RESOURCES)),
        left_out=skipped_told(note.skipped, note.state) if note is not None else None,
    )


def _objects(binding: Binding, request: bytes, ending: Ending) -> list[tuple[str, str]]:
    found = [*named_by(binding, binding.request_type.FromString(request))]
    if ending.response is not None:
        found += made_by(binding.response_type.FromString(ending.response))
    if ending.resource_id:
        made = "policy" if "policy" in binding.response_type.DESCRIPTOR.fields_by_name else "vault"
        found.append((made, ending.resource_id))
    return found
