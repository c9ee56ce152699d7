"""Rows of a report as text for other programs. Pure."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, Final

from cbrgateway.v1 import protection_pb2
from google.protobuf import json_format

NAMES: Final = tuple(fd.name for fd in protection_pb2.ReportRow.DESCRIPTOR.fields)
_FORMULA: Final = (*"=+-@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")
"""What spreadsheets begin a formula with: the four signs, in full width as well, and what some skip
before one.
"""


def as_csv(rows: Iterable[protection_pb2.ReportRow], *, heads: bool) -> str:
    """RFC 4180. What a spreadsheet would take for a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    if heads:
        writer.writerow(NAMES)
    for row in rows:
        told = _told(row)
        writer.writerow([_cell(told.get(name, "")) for name in NAMES])
    return out.getvalue()


def as_json(rows: Iterable[protection_pb2.ReportRow]) -> str:
    """One object a line."""
    return "".join(f"{json.dumps(_told(row), ensure_ascii=False)}\n" for row in rows)


def _told(row: protection_pb2.ReportRow) -> dict[str, Any]:
    return json_format.MessageToDict(
        row, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _cell(value: Any) -> str:  # noqa: ANN401 - as JSON has it
    if isinstance(value, bool):
        return str(value).lower()
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
