"""What a caller is told of a rule that is broken says what is accepted: for every rule there is."""

import re
from types import SimpleNamespace

import pytest
from google.protobuf import message_factory

from gateway.rpc import validation
from gateway.upstream.catalog import own_services
from gateway.upstream.reference import allowed_values, load_comments

COMMENTS = load_comments()
TEXTS = ("\0", "x" * 5000, "a b/:", ".", "", "é")
NUMBERS = (-(2**31), -10, -2, 0, 29, 101, 2**31 - 1)
SECONDS = (-1, 0, 10**9)
BY_ITSELF = {
    r"must (be at (most|least)|contain (no more than|at least)) [0-9]+ (characters|item\(s\))",
    r"must be greater than( or equal to)? -?[0-9.]+s?( and less than( or equal to)? [0-9.]+s?)?",
    r"must (equal [0-9]+|be in list \[.+\])",
    r"must hold each value once",
    r"set (exactly one of|one of|the target:)? ?[a-z_]+(( and|,|, or| or) [a-z_]+)*(, which.*)?",
}
"""What says without the field's comment what is accepted."""


def inputs():
    found = {}
    waiting = [method.input_type for service in own_services() for method in service.methods]
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found[message.full_name] = message
            waiting += [
                field.message_type
                for field in message.fields
                if field.message_type is not None
                and field.message_type.file.package == message.file.package
            ]
    return found.values()


def values(field):
    """Such as may break a rule."""
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Duration":
            return [{"seconds": each} for each in SECONDS]
        return [[], [{}] * 3000] if field.is_repeated else []
    known = {
        field.TYPE_STRING: TEXTS,
        field.TYPE_INT32: NUMBERS,
        field.TYPE_INT64: (*NUMBERS, 2**60),
        field.TYPE_DOUBLE: (-1.0, 2.0),
        field.TYPE_ENUM: (0, 1, 99),
    }.get(field.type, ())
    return (
        [[each] * count for each in known for count in (1, 2, 1100)] if field.is_repeated else known
    )


def broken(message):
    """What callers are told, with the field at fault."""
    kind = message_factory.GetMessageClass(message)
    binding = SimpleNamespace(descriptor=SimpleNamespace(input_type=message))
    for request in (
        kind(),
        *(kind(**{field.name: each}) for field in message.fields for each in values(field)),
    ):
        for found in validation._validator().collect_violations(request):
            path = found.proto.field
            names = [each.field_name for each in path.elements] if path else []
            field = validation._field(binding, names)
            for told in validation._violations(binding, found):
                yield told, field


def accepted(field, text):
    if any(re.fullmatch(form, text) for form in BY_ITSELF):
        return True
    if field is None:
        return False
    names = allowed_values(field)
    comment = COMMENTS.get(field.full_name, "")
    return any(name in text for name in names) or bool(comment and comment in text)


@pytest.mark.parametrize("message", inputs(), ids=lambda message: message.name)
def test_a_broken_rule_says_what_is_accepted(message):
    told = {(each.subject, each.description): field for each, field in broken(message)}
    unsaid = [(message.name, *each) for each, field in told.items() if not accepted(field, each[1])]
    assert unsaid == []
