"""One tiny bad proto per rule of a declaration, each with the exact text that an author gets to
read.

The first lines of a file are `// want: <problem>`, once per problem, and where it needs them
`// handlers: <RPC>`.
"""

import re
from importlib import resources
from pathlib import Path

import pytest
from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import code_pb2
from grpc_tools import protoc

from gateway.upstream import catalog, rules
from gateway.upstream.catalog import DeclarationError, compile_catalog

ROOT = Path(__file__).parents[2]
BAD = Path(__file__).with_name("bad")
FILES = sorted(BAD.glob("*.proto"))
UNVALIDATED = "validate_only_missing.proto"
VALIDATION = FileDescriptorProto(
    name="validation.proto", package="cbrgateway.v1", message_type=[{"name": "ValidationResult"}]
)
"""Stands for types.proto, which needs files that are not installed with protoc."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """All bad protos, in a pool of their own; compiled in one run."""
    out = tmp_path_factory.mktemp("bad") / "bad.binpb"
    includes = [
        BAD,
        ROOT / "protos",
        resources.files("grpc_tools") / "_proto",
        Path(code_pb2.__file__).parents[2],
    ]
    arguments = [
        *(f"-I{path}" for path in includes),
        "--include_imports",
        f"--descriptor_set_out={out}",
        *(file.name for file in FILES),
    ]
    assert protoc.main(["protoc", *arguments]) == 0
    pool = DescriptorPool()
    pool.Add(VALIDATION)
    for file in FileDescriptorSet.FromString(out.read_bytes()).file:
        for method in (method for service in file.service for method in service.method):
            # As much as every change needs.
            if method.options.idempotency_level != MethodOptions.NO_SIDE_EFFECTS:
                _declared(method).untraceable = True
                if file.name != UNVALIDATED:
                    _validated(file, method)
        pool.Add(file)
    return pool


def _validated(file, method):
    """Gives a change what it needs to be only validated, unless it has it."""
    messages = {f".{file.package}.{each.name}": each for each in file.message_type}
    request, response = messages[method.input_type], messages[method.output_type]
    if "validate_only" not in {field.name for field in request.field}:
        request.field.add(
            name="validate_only", number=101, type=Field.TYPE_BOOL, label=Field.LABEL_OPTIONAL
        )
        response.field.add(
            name="validation",
            number=102,
            type=Field.TYPE_MESSAGE,
            type_name=".cbrgateway.v1.ValidationResult",
            label=Field.LABEL_OPTIONAL,
        )
    if VALIDATION.name not in file.dependency:
        file.dependency.append(VALIDATION.name)


def _declared(method):
    if not method.options.HasExtension(options_pb2.upstream):
        return options_pb2.Upstream()
    return method.options.Extensions[options_pb2.upstream]


def notes(file, word):
    return re.findall(rf"^// {word}: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)


def problems(pool, file):
    services = pool.FindFileByName(file.name).services_by_name.values()
    with pytest.raises(DeclarationError) as caught:
        compile_catalog(services, handlers=notes(file, "handlers"))
    assert all(text in str(caught.value) for text in caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_bad_declaration_is_refused_with_exactly_these_words(pool, file):
    assert notes(file, "want")
    assert sorted(problems(pool, file)) == sorted(notes(file, "want"))


def test_all_mistakes_of_all_files_are_named_at_once(pool):
    services = [
        service
        for file in FILES
        for service in pool.FindFileByName(file.name).services_by_name.values()
    ]
    with pytest.raises(DeclarationError) as caught:
        compile_catalog(services)
    wanted = {text for file in FILES for text in notes(file, "want") if not notes(file, "handlers")}
    assert wanted <= set(caught.value.problems)


RULES = [*rules.RULES, *rules.SET_RULES, catalog._handlers]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removeprefix("_"))
def test_every_rule_has_a_bad_proto_that_needs_it(pool, rule, monkeypatch):
    before = {file: problems(pool, file) for file in FILES}
    monkeypatch.setattr(catalog, "RULES", tuple(r for r in rules.RULES if r is not rule))
    monkeypatch.setattr(catalog, "SET_RULES", tuple(r for r in rules.SET_RULES if r is not rule))
    if rule is RULES[-1]:
        monkeypatch.setattr(catalog, "_handlers", lambda *_: ())
    assert any(problems_or_none(pool, file) != before[file] for file in FILES)


def problems_or_none(pool, file):
    try:
        services = pool.FindFileByName(file.name).services_by_name.values()
        compile_catalog(services, handlers=notes(file, "handlers"))
    except DeclarationError as error:
        return list(error.problems)
    return []
