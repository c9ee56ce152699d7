"""The comments of the protos are the public documentation: every element has one, and what they say
of errors is so.
"""

import re
from pathlib import Path

import pytest
from cbrgateway.v1 import errors_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import code_pb2

from gateway.reasons import REASONS as DECLARED
from gateway.reasons import reason_of

BINPB = Path(__file__).parents[2] / "generated" / "cbrgateway.binpb"
OURS = [
    f for f in FileDescriptorSet.FromString(BINPB.read_bytes()).file if f.package == "cbrgateway.v1"
]
UNRAISED = {"UNSPECIFIED", "OTHER"}
REASONS = {
    value.name.removeprefix("ERROR_REASON_") for value in errors_pb2.ErrorReason.DESCRIPTOR.values
}

MESSAGE, ENUM, SERVICE, EXTENSION = (
    FileDescriptorProto.DESCRIPTOR.fields_by_name[name].number
    for name in ("message_type", "enum_type", "service", "extension")
)
FIELD, INNER_MESSAGE, INNER_ENUM, VALUE, METHOD = 2, 3, 4, 2, 2


def elements(file):
    """(path in the source info, full name) of everything that wants a comment."""
    for i, service in enumerate(file.service):
        yield (SERVICE, i), service.name
        for j, method in enumerate(service.method):
            yield (SERVICE, i, METHOD, j), f"{service.name}.{method.name}"
    for i, enum in enumerate(file.enum_type):
        yield from enum_elements(enum, (ENUM, i), enum.name)
    for i, message in enumerate(file.message_type):
        yield from message_elements(message, (MESSAGE, i), message.name)
    for i, extension in enumerate(file.extension):
        yield (EXTENSION, i), extension.name


def enum_elements(enum, path, name):
    yield path, name
    for i, value in enumerate(enum.value):
        yield (*path, VALUE, i), f"{name}.{value.name}"


def message_elements(message, path, name):
    yield path, name
    for i, field in enumerate(message.field):
        yield (*path, FIELD, i), f"{name}.{field.name}"
    for i, inner in enumerate(message.nested_type):
        if not inner.options.map_entry:
            yield from message_elements(inner, (*path, INNER_MESSAGE, i), f"{name}.{inner.name}")
    for i, enum in enumerate(message.enum_type):
        yield from enum_elements(enum, (*path, INNER_ENUM, i), f"{name}.{enum.name}")


def comments(file):
    """Full name -> comment, empty where there is none."""
    known = {
        tuple(location.path): location.leading_comments.strip()
        for location in file.source_code_info.location
    }
    return {name: known.get(path, "") for path, name in elements(file)}


@pytest.mark.parametrize("file", OURS, ids=lambda file: Path(file.name).stem)
def test_everything_has_a_comment_that_is_a_sentence(file):
    found = comments(file)
    assert [name for name, text in found.items() if not text] == []
    assert [name for name, text in found.items() if text[-1:] not in {".", ":", "`", ")"}] == []


ALL = {name: text for file in OURS for name, text in comments(file).items()}


def test_there_is_much_to_hold():
    assert len(ALL) > 1000


@pytest.mark.parametrize("name", sorted(REASONS - UNRAISED))
def test_a_reason_has_a_code_and_says_what_it_means_and_what_to_do(name):
    code = code_pb2.Code.Name(DECLARED[reason_of(name)].code)
    meaning, marker, todo = ALL[f"ErrorReason.ERROR_REASON_{name}"].partition("\n What to do: ")
    assert meaning.startswith(code)
    assert len(meaning.removeprefix(code).strip(" .\n")) > 10
    assert marker
    assert todo.endswith(".")


VALUES = [
    name
    for name in ALL
    if name.rpartition(".")[2].isupper() and not name.startswith("ErrorReason.")
]
RPCS = [
    f"{service.name}.{method.name}"
    for file in OURS
    for service in file.service
    for method in service.method
]


@pytest.mark.parametrize("rpc", RPCS)
def test_the_reasons_that_an_rpc_names_exist(rpc):
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", ALL[rpc]))
    strange = named - REASONS - set(code_pb2.Code.keys())
    assert {
        word
        for word in strange
        if not any(value.endswith((f".{word}", f"_{word}")) for value in VALUES)
    } == set()


def test_most_rpcs_name_their_own_reasons():
    silent = [
        rpc for rpc in RPCS if not set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", ALL[rpc])) & REASONS
    ]
    assert len(silent) < len(RPCS) / 3, silent
