"""What a setting refuses is told in our own words, whatever its bounds are."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from gateway.config import Config
from gateway.wording import WORDS, sentence

KINDS = {
    "minimum": "greater_than_equal",
    "exclusiveMinimum": "greater_than",
    "maximum": "less_than_equal",
    "exclusiveMaximum": "less_than",
    "minLength": "string_too_short",
    "maxLength": "string_too_long",
    "pattern": "string_pattern_mismatch",
    "minItems": "too_short",
    "maxItems": "too_long",
    "minProperties": "too_short",
    "maxProperties": "too_long",
}
"""By the word of JSON Schema for a bound: the library's for what breaks it."""
OTHER = {
    "type", "description", "title", "default", "properties", "additionalProperties", "anyOf",
    "oneOf", "$ref", "$defs", "required", "enum", "items", "format", "const", "discriminator",
}  # fmt: skip
"""Words that are no bound, or whose breach config/schema.py words by itself."""


def words_of(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from words_of(each)
    elif isinstance(schema, dict):
        for word, value in schema.items():
            yield word
            if word in {"properties", "$defs"}:
                yield from words_of(list(value.values()))
            elif word not in {"default", "discriminator"}:
                yield from words_of(value)


def test_every_bound_of_a_setting_has_words() -> None:
    found = set(words_of(Config.model_json_schema())) - OTHER
    assert {"maxItems", "minItems", "exclusiveMinimum"} <= found
    assert found <= set(KINDS)
    assert {KINDS[word] for word in found} <= set(WORDS)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ({"max_length": 2}, (1, 2, 3), "must have at most 2 entries"),
        ({"max_length": 1}, (1, 2, 3), "must have at most one entry"),
        ({"min_length": 1}, (), "must have at least one entry"),
    ],
)
def test_lengths_of_lists(kind: dict[str, int], value: object, words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(Annotated[tuple[int, ...], Field(**kind)]).validate_python(value)
    assert sentence(raised.value.errors()[0]) == words
