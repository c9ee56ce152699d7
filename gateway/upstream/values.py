"""Single values to and from JSON: the converters that the codec's plans are made of.

A reader takes what msgspec made of JSON and answers a constructor argument of protobuf, or raises ProtocolError; a writer goes the other way. None means "not set".
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from gateway.upstream import strict_json

Json = Any
"""What msgspec makes of JSON: None, bool, int, float, str, list, dict."""


class ProtocolError(ValueError):
    """CBR's JSON does not have the declared shape. The text names the place, never the value."""


def read_string(value: Json) -> Json:
    if type(value) is not str:
        raise ProtocolError("must be a string")
    return value


def read_bool(value: Json) -> Json:
    if type(value) is not bool:
        raise ProtocolError("must be true or false")
    return value


def read_int(value: Json) -> Json:
    if type(value) is not int:
        raise ProtocolError("must be a whole number")
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
            return parse(value)
        except ValueError as error:
            raise ProtocolError("must be a number or bool in a string") from error

    return read


def parse_bool(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


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
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return {"seconds": since.days * 86400 + since.seconds, "nanos": since.microseconds * 1000}


def read_unix_seconds(value: Json) -> Json:
    return {"seconds": read_int(value)}


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
    return datetime.fromtimestamp(value.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_date(value: Any) -> str:  # noqa: ANN401 - google.type.Date
    return f"{value.year:04d}-{value.month:02d}-{value.day:02d}"


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
            return int(value.number_value) if value.number_value.is_integer() else value.number_value
        case None | "null_value":
            return None
        case known:
            return getattr(value, known)
