"""What the library for settings finds wrong with a value, in words that say what is accepted."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

WORDS: Final[Mapping[str, str]] = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of keys and values",
    "model_attributes_type": "must be a mapping of keys and values",
    "dict_type": "must be a mapping of keys and values",
    "path_type": "must be a path",
    "too_short": "must have at least {entries}",
    "too_long": "must have at most {entries}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
"""By the kind of the error."""


def sentence(error: ErrorDetails) -> str:
    """What is accepted; the library's own words where there are none here."""
    context = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] not in WORDS:
        return error["msg"]
    count = context.get("min_length", context.get("max_length"))
    entries = "one entry" if count == 1 else f"{count} entries"
    return WORDS[error["type"]].format(**context, entries=entries)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any bound
    """2.0 as 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
