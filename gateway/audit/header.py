"""The few members of a record that the log itself lives on, read without the rest."""

from typing import Final

import msgspec

from gateway.audit.record import Displaced, Previous, Segment, decoded


class _Marks(msgspec.Struct):
    event_code: str
    correlation_uid: str = ""
    tenant_uid: str = ""


class _Api(msgspec.Struct):
    operation: str = ""


class _Kind(msgspec.Struct):
    stage: str
    fate: str = ""
    segment: Segment | None = None
    removed: Previous | None = None
    displaced: Displaced | None = None


class RecordHeader(msgspec.Struct):
    """The few members of a record that the log itself lives on."""

    metadata: _Marks
    api: _Api
    unmapped: _Kind
    time: int = 0


_decoder: Final = msgspec.json.Decoder(RecordHeader)


def record_header(line: bytes) -> RecordHeader:
    """Raises msgspec.MsgspecError for what is no record."""
    return decoded(_decoder, line)


def header_of(line: bytes) -> Segment | None:
    """What the first line of a segment says of it; None for any other line."""
    try:
        return record_header(line).unmapped.segment
    except msgspec.MsgspecError:
        return None
