"""The text of `cbr-gateway bindings` and `cbr-gateway explain RPC`."""

import difflib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from google.rpc import code_pb2

from gateway.upstream import reference
from gateway.upstream.declaration import Binding
from gateway.upstream.reference import FieldReference

_WIDTH: Final = 120


def found(name: str, bindings: Mapping[str, Binding]) -> list[Binding]:
    """The RPCs that a name may mean: `CreateVault`, `VaultService.CreateVault`, a full name, in any
    case, or the vendor's word for the operation.
    """
    wanted = name.strip("/").replace("/", ".").lower()
    full = {
        f"{b.descriptor.containing_service.full_name}.{b.descriptor.name}".lower(): b
        for b in bindings.values()
    }
    ours = [
        binding
        for known, binding in full.items()
        if known == wanted or known.endswith(f".{wanted}")
    ]
    return ours or [binding for binding in bindings.values() if binding.operation.lower() == wanted]


def near(name: str, bindings: Mapping[str, Binding]) -> list[str]:
    """Up to three RPCs whose names resemble `name`."""
    short = name.replace("/", ".").rpartition(".")[2].lower()
    known = {binding.descriptor.name.lower(): rpc for rpc, binding in bindings.items()}
    return [known[match] for match in difflib.get_close_matches(short, known)]


def row(binding: Binding) -> dict[str, str | bool]:
    """One line of `bindings`, by column."""
    return {
        "rpc": binding.rpc,
        "verb": binding.method,
        "path": binding.path,
        "operation": binding.operation,
        "permission": binding.permission,
        "class": binding.retry_class.name,
        "asynchronous": binding.asynchronous,
    }


def table(bindings: Iterable[Binding]) -> Iterator[str]:
    """Aligned columns under a head."""
    columns = ("rpc", "verb", "path", "operation", "class")
    rows: list[Mapping[str, str | bool]] = [
        {column: column.upper() for column in columns},
        *(row(binding) for binding in bindings),
    ]
    widths = {column: max(len(str(line[column])) for line in rows) for column in columns}
    for line in rows:
        yield "  ".join(f"{line[column]:<{widths[column]}}" for column in columns).rstrip()


def explained(binding: Binding) -> Iterator[str]:
    """Everything about one RPC: what it does, what it calls, its fields and its errors."""
    comments = reference.load_comments()
    comment = comments.get(str(binding.descriptor.full_name), "")
    yield binding.rpc
    yield from _wrapped(comment, "  ")
    yield ""
    yield from _call(binding)
    yield from _section("Request", reference.request_fields(binding, comments))
    if together := list(reference.message_rules(binding.descriptor.input_type)):
        yield from _wrapped(f"rules of the whole: {'; '.join(together)}", "  ")
    yield from _section("Answer", reference.response_fields(binding, comments))
    errors = list(reference.errors_named(comment, comments))
    if errors:
        yield from (
            "",
            "Errors of its own (every call may also end with those named at its service)",
        )
    for error in errors:
        yield f"  {error.reason} ({code_pb2.Code.Name(error.code)})"
        yield from _wrapped(error.comment, "      ")


def _call(binding: Binding) -> Iterator[str]:
    if binding.method:
        yield f"  CBR call     {binding.method} {binding.path}"
        yield f"  Operation    {binding.operation}"
        yield f"  When unsure  {binding.retry_class.value}"
    else:
        yield "  CBR call     none of its own: the gateway answers"
    yield f"  Permission   {binding.permission}"
    for rpc, permission in binding.reads_by.items():
        yield f"  Reads by     {rpc}: {permission}"
    if binding.read_back:
        yield f"  Read back    {binding.read_back}"
    if (losing := binding.traits.losing) is not None:
        yield f"  Guard        {losing.guard}, of the tenant's guards: docs/changes.md"
    if binding.asynchronous:
        yield "  Asynchronous: the work goes on after the call has answered; see TaskService"
    if binding.for_administrators:
        yield "  For administrators: what the call reaches belongs to no tenant"


def _section(title: str, fields: Iterable[FieldReference]) -> Iterator[str]:
    lines = [line for field in fields for line in _field(field)]
    if lines:
        yield from ("", title, *lines)


def _field(field: FieldReference) -> Iterator[str]:
    indent = "  " * (field.depth + 1)
    yield f"{indent}{field.name}: {field.type} -> {field.place}"
    yield from _wrapped(field.comment, f"{indent}    ")
    if field.values:
        yield from _wrapped(f"values: {', '.join(field.values)}", f"{indent}    ")
    if field.rules:
        yield from _wrapped(f"rules: {'; '.join(field.rules)}", f"{indent}    ")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
