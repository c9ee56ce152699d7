"""Single values to and from JSON: the converters that the codec's plans are made of.

A reader takes what msgspec made of JSON and answers a constructor argument of protobuf. Where CBR's
answers drift from their description it converts what can be converted without loss, and raises
ProtocolError for the rest. A writer goes the other way, or raises NotEncodableError. None means
"not set".
"""

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from gateway.upstream import strict_json
from gateway.upstream.tolerant_json import Damaged

Json = Any
"""What is made of JSON: None, bool, int, float, str, list, dict; and Damaged."""


class ProtocolError(ValueError):
    """CBR's JSON does not have the declared shape. The text names the place, never the value."""


class NotEncodableError(ValueError):
    """A field of a request holds a value without a form in CBR's JSON.

    `path`: field names from the outermost to it; `rule`: a stable word.
    """

    def __init__(self, description: str, rule: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(description)
        self.description = description
        self.rule = rule
        self.path = path

    def inside(self, name: str) -> "NotEncodableError":
        """The same, seen from the message that holds it in the field `name`."""
        return NotEncodableError(self.description, self.rule, (name, *self.path))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_OF_NO_ZONE: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a time without a zone is UTC
_MIN_SECONDS: Final = -62_135_596_800
_MAX_SECONDS: Final = 253_402_300_799
"""The first second of year 1 and the last of year 9999, between which Timestamp is defined."""
_END_OF_SECONDS: Final = 10**11
_END_OF_MILLISECONDS: Final = 10**13
"""Since 1970: in the years 5138 and 2286."""
_A_SECOND: Final = 1_000_000_000
_COMPACT_DATE: Final = len("YYYYMMDD")
_EXACT: Final = 2**53
"""Up to here a double holds every whole number."""
LARGEST: Final = sys.float_info.max
_BOOLS: Final = {"true": True, "false": False}


def read_string(value: Json) -> Json:
    """Text; a number or bool as JSON writes it."""
    kind = type(value)
    if kind is str:
        return value
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return repr(value)
    raise ProtocolError("must be a string")


def read_bool(value: Json) -> Json:
    """A bool, also in text, or as 0 and 1."""
    if type(value) is bool:
        return value
    if type(value) is str:
        value = _BOOLS.get(value.lower())
    elif type(value) is int:
        value = {0: False, 1: True}.get(value)
    if type(value) is not bool:
        raise ProtocolError("must be true or false")
    return value


def read_int32(value: Json) -> Json:
    return _read_int(value, 32)


def read_int64(value: Json) -> Json:
    return _read_int(value, 64)


def _read_int(value: Json, bits: int) -> Json:
    """A whole number, also in text or with a fraction of nothing."""
    if type(value) is not int:
        value = _number(value)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise ProtocolError("must be a whole number")
    if not -1 << bits - 1 <= value < 1 << bits - 1:
        raise ProtocolError(f"must be a whole number of {bits} bits")
    return value


def read_real(value: Json) -> Json:
    """A number, also in text."""
    if type(value) is not float:
        value = _number(value)
        if type(value) is not int and type(value) is not float:
            raise ProtocolError("must be a number")
        if not -LARGEST <= value <= LARGEST:
            raise ProtocolError("must be a number of 64 bits")
    return value


def _number(value: Json) -> Json:
    """A number out of text as JSON writes it; Python's own int() and float() take `1_0`, `nan` and
    digits of every script.
    """
    if type(value) is not str:
        return value
    try:
        return strict_json.loads(value.encode())
    except (strict_json.NotJson, UnicodeError):
        return None


def read_timestamp(value: Json) -> Json:
    """`2025-03-25T06:32:07.951164`, `2025-03-25 07:59:52`, `…Z` or `…+00:00`; without a zone it is
    UTC. Source: recorded traffic.

    Seconds (eleven digits at most) or milliseconds (twelve or thirteen) since 1970 where a number
    stands in its place, also in text of nine digits or more. A longer one may be `20250325063207`,
    and nobody knows of which zone: it is none.
    """
    if type(value) is not str:
        return _read_epoch(value)
    if value[4:5] != "-" and _counts_from_1970(value):
        return _read_epoch(_number(value))
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _read_epoch(_number(value))
    # Not moment.timestamp(): a float would lose microseconds.
    if moment.tzinfo is None:
        since = moment - _EPOCH_OF_NO_ZONE
        return {
            "seconds": since.days * 86400 + since.seconds,
            "nanos": since.microseconds * 1000,
        }
    since = moment - _EPOCH
    return _in_range(since.days * 86400 + since.seconds, since.microseconds * 1000)


def _counts_from_1970(text: str) -> bool:
    """Whether it is a number too long for a compact date, of which Python's ISO parser would take
    the first eight digits for one.
    """
    digits = text.partition(".")[0]
    return len(digits) > _COMPACT_DATE and digits.isdigit()


def _read_epoch(value: Json) -> Json:
    if type(value) is not int and type(value) is not float:
        raise ProtocolError("must be a time")
    if abs(value) >= _END_OF_MILLISECONDS:
        raise ProtocolError("must be a time in the years 1 to 9999")
    if abs(value) >= _END_OF_SECONDS:
        value = value / 1000 if type(value) is float or value % 1000 else value // 1000
    whole = int(value // 1)
    return _in_range(whole, round((value - whole) * 1e6) * 1000)


def _in_range(seconds: int, nanos: int) -> Json:
    if not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        raise ProtocolError("must be a time in the years 1 to 9999")
    return (
        {"seconds": seconds, "nanos": nanos}
        if nanos < _A_SECOND
        else {"seconds": seconds + 1, "nanos": 0}
    )


def read_date(value: Json) -> Json:
    """`2025-03-25`, or a time as seconds or milliseconds since 1970, then its day in UTC."""
    if value == "":
        return None
    text = read_string(value)
    try:
        day = (
            (_EPOCH + timedelta(seconds=_read_epoch(_number(text))["seconds"])).date()
            if _counts_from_1970(text)
            else date.fromisoformat(text)
        )
    except ValueError as error:
        raise ProtocolError("must be a date as YYYY-MM-DD") from error
    return {"year": day.year, "month": day.month, "day": day.day}


def read_struct(value: Json) -> Json:
    if type(value) is not dict:
        raise ProtocolError("must be an object")
    return free_form(value)


def free_form(value: Json) -> Json:
    """JSON of any shape as a Struct can hold it.

    Its numbers are doubles: a whole number that is none of those becomes text.
    """
    kind = type(value)
    if kind is int:
        return value if -_EXACT <= value <= _EXACT or _is_double(value) else str(value)
    if kind is dict:
        return {key: free_form(item) for key, item in value.items()}
    if kind is list:
        return [free_form(item) for item in value]
    return free_form(value.kept) if kind is Damaged else value


def _is_double(value: int) -> bool:
    return -LARGEST <= value <= LARGEST and float(value) == value


def read_value(value: Json) -> Json:
    """google.protobuf.Value as constructor arguments."""
    value = free_form(value)
    if value is None:
        return {"null_value": 0}
    if type(value) is bool:
        return {"bool_value": value}
    if type(value) is str:
        return {"string_value": value}
    if type(value) is dict:
        return {"struct_value": value}
    if type(value) is list:
        return {"list_value": value}
    return {"number_value": value}


def read_json_text(value: Json) -> Json:
    """A google.protobuf.Value of the document in the string; text that is no JSON is kept as it is,
    so that nothing is lost.
    """
    if type(value) is str:
        try:
            return read_value(strict_json.loads(value.encode()))
        except (strict_json.NotJson, UnicodeError):
            pass
    return read_value(value)


def same(value: Json) -> Json:
    return value


def write_timestamp(value: Timestamp) -> str:
    """`2025-03-25T06:32:07Z`, the form that CBR's queries want; whole seconds."""
    try:
        moment = _EPOCH + timedelta(seconds=value.seconds)
    except OverflowError:
        raise NotEncodableError("must be a time in the years 1 to 9999", "timestamp") from None
    return moment.replace(tzinfo=None).isoformat() + "Z"


def write_date(value: Date) -> str:
    try:
        return date(value.year, value.month, value.day).isoformat()
    except ValueError:
        raise NotEncodableError(
            "must be a day of the calendar with year, month and day", "date"
        ) from None


def write_unix_seconds(value: Timestamp) -> int:
    if not -_MAX_SECONDS <= value.seconds <= _MAX_SECONDS:
        raise NotEncodableError("must be a time in the years 1 to 9999", "timestamp")
    return int(value.seconds)


def write_real(value: float) -> float:
    if not isfinite(value):
        raise NotEncodableError("must be a finite number", "finite")
    return value


def write_separated(items: Iterable[str]) -> str:
    """One value with commas; an item that holds a comma would become two."""
    texts = list(items)
    if any("," in text or not text for text in texts):
        raise NotEncodableError("must be without empty items and commas inside items", "comma")
    return ",".join(texts)


def write_text(value: Json) -> str:
    return str(value).lower() if type(value) is bool else str(value)


def write_struct(value: Struct) -> dict[str, Json]:
    return {key: write_value(item) for key, item in value.fields.items()}


def write_value(value: Value) -> Json:
    match value.WhichOneof("kind"):
        case "struct_value":
            return write_struct(value.struct_value)
        case "list_value":
            return [write_value(item) for item in value.list_value.values]
        case "number_value":
            number = write_real(value.number_value)
            return int(number) if number.is_integer() else number
        case None | "null_value":
            return None
        case known:
            return getattr(value, known)
