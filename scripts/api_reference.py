"""The API reference as Markdown, a page for each proto file, from the protos' own comments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from gateway.operations import load_catalog
from gateway.upstream import wire
from gateway.upstream.catalog import Catalog, own_services
from gateway.upstream.reference import load_comments, message_rules

_SCALARS: Final = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """What the pages are made from. `catalog`: the RPCs that are CBR's."""

    comments: Mapping[str, str]
    catalog: Catalog

    def page(self, file: FileDescriptor) -> str:
        """Everything that one proto file declares."""
        return "\n".join(self._lines(file)) + "\n"

    def _lines(self, file: FileDescriptor) -> Iterator[str]:
        services = list(file.services_by_name.values())
        names = ", ".join(service.name for service in services)
        yield f"# {names or _page(file)}"
        yield f"\n`{file.name}`"
        for service in services:
            yield f"\n{self._said(service.full_name)}"
            for method in service.methods:
                yield from self._method(method)
        yield from _section("Messages", file.message_types_by_name)
        for message in file.message_types_by_name.values():
            yield from self._message(message)
        yield from _section("Enums", file.enum_types_by_name)
        for enum in file.enum_types_by_name.values():
            yield from self._enum(enum)

    def _method(self, method: MethodDescriptor) -> Iterator[str]:
        yield f"\n## {method.name}\n\n{self._said(method.full_name)}\n"
        streamed = "stream of " if method.server_streaming else ""
        yield f"- Request: {_link(method.input_type)}"
        yield f"- Answer: {streamed}{_link(method.output_type)}"
        rpc = f"{method.containing_service.name}/{method.name}"
        if (binding := self.catalog.bindings.get(rpc)) is not None and binding.operation:
            yield f"- CBR: `{binding.method} {binding.path}`, {binding.operation}"

    def _message(self, message: Descriptor) -> Iterator[str]:
        yield f"\n### {_name(message)}\n\n{self._said(message.full_name)}\n"
        if message.fields:
            yield "| field | type | |\n|---|---|---|"
        for field in message.fields:
            said = _cell(self._said(field.full_name))
            yield f"| `{field.name}` | {_type(field)} | {said} |"
        if rules := list(message_rules(message)):
            yield "\nTogether:\n"
            yield from (f"- {_cell(rule)}" for rule in rules)
        for inner in message.nested_types:
            if not inner.GetOptions().map_entry:
                yield from self._message(inner)
        for enum in message.enum_types:
            yield from self._enum(enum)

    def _enum(self, enum: EnumDescriptor) -> Iterator[str]:
        yield f"\n### {_name(enum)}\n\n{self._said(enum.full_name)}\n"
        yield "| value | number | |\n|---|---|---|"
        for value in enum.values:
            said = _cell(self.comments.get(f"{enum.full_name}.{value.name}", ""))
            yield f"| `{value.name}` | {value.number} | {said} |"

    def _said(self, full_name: str) -> str:
        return _escaped(self.comments.get(full_name, ""))


def pages() -> dict[str, str]:
    """By file name."""
    reference = Reference(load_comments(), load_catalog())
    files = {each.file.name: each.file for each in own_services()}
    package = next(iter(files.values())).package
    pool = descriptor_pool.Default()
    left = list(files.values())
    while left:
        for name in (each.name for each in left.pop().dependencies):
            if name not in files and (found := pool.FindFileByName(name)).package == package:
                files[name] = found
                left.append(found)
    return {f"{_page(file)}.md": reference.page(file) for file in files.values()}


def _section(title: str, of: Mapping[str, object]) -> Iterator[str]:
    if of:
        yield f"\n## {title}"


def _page(file: FileDescriptor) -> str:
    return str(file.name.rpartition("/")[2].removesuffix(".proto"))


def _name(of: Descriptor | EnumDescriptor) -> str:
    return str(of.full_name.removeprefix(f"{of.file.package}."))


def _link(of: Descriptor | EnumDescriptor) -> str:
    name = _name(of)
    if not of.file.package.startswith("cbrgateway"):
        return f"`{of.full_name}`"
    return f"[{name}]({_page(of.file)}.md#{name.lower().replace('.', '')})"


def _type(field: FieldDescriptor) -> str:
    if wire.is_map(field):
        key, value = field.message_type.fields
        return f"map of {_type(key)} to {_type(value)}"
    if field.message_type is not None:
        name = _link(field.message_type)
    elif field.enum_type is not None:
        name = _link(field.enum_type)
    else:
        name = _SCALARS[field.type]
    return f"list of {name}" if field.is_repeated else name


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    """Nothing in it is taken for HTML, but what stands in backticks is code."""
    parts = text.split("`")
    return "`".join(
        part if at % 2 else part.replace("<", "&lt;").replace("*", "\\*")
        for at, part in enumerate(parts)
    )
