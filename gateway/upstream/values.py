"""Single values to and from JSON: the converters that the codec's plans are made of.

A reader takes what msgspec made of JSON and answers a constructor argument of protobuf, or raises ProtocolError; a writer goes the other way,
or raises NotEncodableError. None means "not set".
"""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from typing import Any, Final

from gateway.upstream import strict_json

Json = Any
"""What msgspec makes of JSON: None, bool, int, float, str, list, dict."""


class ProtocolError(ValueError):
    """CBR's JSON does not have the declared shape. The text names the place, never the value."""


class NotEncodableError(ValueError):
    """A field of a request holds a value without a form in CBR's JSON. `path`: field names from the outermost to it; `rule`: a stable word."""

    def __init__(self, description: str, rule: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(description)
        self.description = description
        self.rule = rule
        self.path = path

    def inside(self, name: str) -> "NotEncodableError":
        """The same, seen from the message that holds it in the field `name`."""
        return NotEncodableError(self.description, self.rule, (name, *self.path))


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS: Final = 253_402_300_799
"""The last second of the year 9999, where Timestamp ends."""


def read_string(value: Json) -> Json:
    if type(value) is not str:
        raise ProtocolError("must be a string")
    return value


def read_bool(value: Json) -> Json:
    if type(value) is not bool:
        raise ProtocolError("must be true or false")
    return value


def read_int32(value: Json) -> Json:
    return _read_int(value, 32)


def read_int64(value: Json) -> Json:
    return _read_int(value, 64)


def _read_int(value: Json, bits: int) -> Json:
    if type(value) is not int:
        raise ProtocolError("must be a whole number")
    if not -1 << bits - 1 <= value < 1 << bits - 1:
        raise ProtocolError(f"must be a whole number of {bits} bits")
    return value


def read_real(value: Json) -> Json:
    if type(value) is not int and type(value) is not float:
        raise ProtocolError("must be a number")
    return value


def read_text(plain: Callable[[Json], Json], parse: Callable[[str], Json]) -> Callable[[Json], Json]:
    def read(value: Json) -> Json:
        if type(value) is not str:
            return plain(value)
        try:
            return plain(parse(value))
        except ValueError as error:
            raise ProtocolError("must be a number or bool in a string") from error

    return read


def parse_bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def parse_number(text: str) -> Json:
    """As JSON writes it; Python's own int() and float() take `1_0`, `nan` and digits of every script."""
    return strict_json.loads(text.encode())


def read_timestamp(value: Json) -> Json:
    """`2025-03-25T06:32:07.951164`, `2025-03-25 07:59:52`, `…Z` or `…+00:00`; without a zone it is UTC. Source: recorded traffic."""
    if type(value) is not str:
        raise ProtocolError("must be a time")
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ProtocolError("must be a time") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    # Not moment.timestamp(): a float would lose microseconds.
    since = moment - _EPOCH
    return {"seconds": since.days * 86400 + since.seconds, "nanos": since.microseconds * 1000}


def read_unix_seconds(value: Json) -> Json:
    seconds = read_int64(value)
    if not -_MAX_SECONDS <= seconds <= _MAX_SECONDS:
        raise ProtocolError("must be a time in seconds since 1970")
    return {"seconds": seconds}


def read_date(value: Json) -> Json:
    try:
        day = date.fromisoformat(read_string(value))
    except ValueError as error:
        raise ProtocolError("must be a date as YYYY-MM-DD") from error
    return {"year": day.year, "month": day.month, "day": day.day}


def read_struct(value: Json) -> Json:
    if type(value) is not dict:
        raise ProtocolError("must be an object")
    return value


def read_value(value: Json) -> Json:
    """google.protobuf.Value as constructor arguments."""
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
    """A google.protobuf.Value of the document in the string; text that is no JSON is kept as it is, so that nothing is lost."""
    if type(value) is str:
        try:
            return read_value(strict_json.loads(value.encode()))
        except (strict_json.NotJson, UnicodeError):
            pass
    return read_value(value)


def read_many(read: Callable[[Json], Json], *, one_too: bool) -> Callable[[Json], Json]:
    def read_list(value: Json) -> Json:
        if type(value) is list:
            return [read(item) for item in value]
        if one_too:
            return [read(value)]
        raise ProtocolError("must be an array")

    return read_list


def read_map(read: Callable[[Json], Json]) -> Callable[[Json], Json]:
    def read_map(value: Json) -> Json:
        return {key: read(item) for key, item in read_struct(value).items()}

    return read_map


def same(value: Json) -> Json:
    return value


def write_timestamp(value: Any) -> str:  # noqa: ANN401 - Timestamp
    """`2025-03-25T06:32:07Z`, the form that CBR's queries want; whole seconds."""
    try:
        moment = _EPOCH + timedelta(seconds=value.seconds)
    except OverflowError:
        raise NotEncodableError("must be a time in the years 1 to 9999", "timestamp") from None
    return moment.replace(tzinfo=None).isoformat() + "Z"


def write_date(value: Any) -> str:  # noqa: ANN401 - google.type.Date
    try:
        return date(value.year, value.month, value.day).isoformat()
    except ValueError:
        raise NotEncodableError("must be a day of the calendar with year, month and day", "date") from None


def write_unix_seconds(value: Any) -> int:  # noqa: ANN401 - Timestamp
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


def write_struct(value: Any) -> dict[str, Json]:  # noqa: ANN401 - Struct
    return {key: write_value(item) for key, item in value.fields.items()}


def write_value(value: Any) -> Json:  # noqa: ANN401 - google.protobuf.Value
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
