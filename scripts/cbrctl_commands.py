"""Writes what `cbrctl` knows of the API, from the protos: cbrctl/commands.json has a command for
each RPC, cbrctl/messages.json what `cbrctl explain` says.

So help and completion load two files of plain data, and neither gRPC nor a descriptor; and a new
RPC needs no code.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.descriptor_pb2 import MethodOptions

from gateway.upstream import wire
from gateway.upstream.catalog import own_services
from gateway.upstream.reference import load_comments
from scripts.cbrctl_columns import columns, identifying
from scripts.cbrctl_fields import (
    arguments,
    first_sentence,
    flags,
    in_package,
    kebab,
    known_texts,
    type_name,
)

HERE: Final = Path(__file__).resolve().parent.parent / "cbrctl"
COMMANDS, MESSAGES = HERE / "commands.json", HERE / "messages.json"
_NOUNS: Final = {
    "AccessService": "Caller",
    "BackupShareService": "BackupMember",
    "ProtectabilityService": "Protectable",
}
"""What services are about whose names do not say it."""
_BESIDE: Final = frozenset({"submission", "validation", "coverage"})
"""Fields of an answer that are not its object."""
_OF_ANY: Final = " Every RPC can end with"
"""How the part of a service's comment begins that is the same for all."""
_CONFIRMED: Final = ("Delete", "Remove", "Unregister", "Restore", "Migrate", "Release")
"""First words of changes that destroy, overwrite or cannot be taken back."""


def plural(noun: str) -> str:
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def noun_of(service: ServiceDescriptor) -> str:
    return _NOUNS.get(service.name) or str(service.name).removesuffix("Service")


def verb_name(method: str, noun: str) -> str:
    """The name of the RPC without the noun of its service: `ListVaultTags` -> `list-tags`."""
    for known in (plural(noun), noun):
        shorter = method.replace(known, "", 1)
        if shorter != method:
            return kebab(shorter)
    return kebab(method)


def commands(comments: Mapping[str, str]) -> dict[str, Any]:
    """All groups by name, each with its verbs by name."""
    nouns = {kebab(noun_of(service)): kebab(plural(noun_of(service))) for service in own_services()}
    return {
        nouns[kebab(noun_of(service))]: {
            "help": comments.get(str(service.full_name), "").partition(_OF_ANY)[0],
            "verbs": {
                verb_name(str(method.name), noun_of(service)): _verb(method, comments, nouns)
                for method in service.methods
            },
        }
        for service in own_services()
    }


def _verb(
    method: MethodDescriptor, comments: Mapping[str, str], nouns: Mapping[str, str]
) -> dict[str, Any]:
    request, response = method.input_type, method.output_type
    noun = kebab(noun_of(method.containing_service)).replace("-", "_")
    read = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    given = arguments(request, comments, nouns, read=read)
    help_text = comments.get(str(method.full_name), "")
    verb: dict[str, Any] = {
        "rpc": f"{method.containing_service.name}/{method.name}",
        "help": help_text,
        "short": first_sentence(help_text),
        "request": request.name,
        "arguments": given,
        "flags": flags(request, comments, nouns, {each["field"] for each in given}),
    }
    facts = {
        "read": read,
        "stream": bool(method.server_streaming),
        "pages": "page_token" in request.fields_by_name,
        "confirm": not read and str(method.name).startswith(_CONFIRMED),
        "dry_run": "validate_only" in request.fields_by_name,
        "work": not read and "submission" in response.fields_by_name,
    }
    return {
        **verb,
        **{name: True for name, holds in facts.items() if holds},
        **_shown(response, noun, lists=facts["pages"], stream=facts["stream"]),
    }


def _shown(response: Descriptor, noun: str, *, lists: bool, stream: bool) -> dict[str, Any]:
    """Where an answer has its rows, and the columns of a table of them.

    The rows are those of a list, or the one object of an answer, its many beside their total, those
    in a message of a stream; else the answer is the only row.
    """
    inside = [
        each
        for each in response.fields
        if each.message_type is not None and not wire.is_map(each) and in_package(each.message_type)
    ]
    objects = [each for each in inside if each.name not in _BESIDE] or [
        each for each in inside if each.name == "submission"
    ]
    held = next((each for each in objects if each.name == noun), None) or (
        objects[0] if objects and (lists or len(objects) == 1) else None
    )
    total = _total(objects) if held is None else {}
    if held is None and (total or stream):
        held = next((each for each in objects if each.is_repeated), None)
    if held is None:
        return {**identifying(response), **columns(response)}
    many = {"many": True} if held.is_repeated else {}
    row = held.message_type
    return {"rows": held.name, **many, **total, **identifying(row), **columns(row)}


def _total(objects: Sequence[FieldDescriptor]) -> dict[str, list[str]]:
    """Where the other of two objects is of the type of a field of the rows in the first."""
    many = [each for each in objects if each.is_repeated]
    if len(many) != 1 or len(objects) != 2:  # noqa: PLR2004
        return {}
    (one,) = (each for each in objects if not each.is_repeated)
    like = [
        each.name for each in many[0].message_type.fields if each.message_type is one.message_type
    ]
    return {"total": [str(one.name), str(like[0])]} if like else {}


def messages(comments: Mapping[str, str]) -> dict[str, Any]:
    """Every message and enum of the package that a request or an answer holds."""
    found: dict[str, Any] = {}
    waiting = [
        each
        for service in own_services()
        for method in service.methods
        for each in (method.input_type, method.output_type)
    ]
    while waiting:
        message = waiting.pop()
        if message.name in found:
            continue
        found[message.name] = _message(message, comments)
        for field in message.fields:
            if (enum := field.enum_type) is not None:
                found[enum.name] = {
                    "help": comments.get(str(enum.full_name), ""),
                    "values": {
                        value.name: comments.get(f"{enum.full_name}.{value.name}", "")
                        for value in enum.values
                    },
                }
            if field.message_type is not None and in_package(field.message_type):
                waiting.append(field.message_type)
    return dict(sorted(found.items()))


def _message(message: Descriptor, comments: Mapping[str, str]) -> dict[str, Any]:
    return {
        "help": comments.get(str(message.full_name), ""),
        "fields": {
            field.name: {
                "type": type_name(field),
                **({"many": True} if field.is_repeated and not wire.is_map(field) else {}),
                "help": comments.get(str(field.full_name), ""),
                **_words(field, comments),
            }
            for field in message.fields
        },
    }


def _words(field: FieldDescriptor, comments: Mapping[str, str]) -> dict[str, Any]:
    known = known_texts(field, comments.get(str(field.full_name), ""))
    return {"words": known} if known else {}


def _files() -> Iterator[tuple[Path, str]]:
    """One line for each command and message, so that a change shows as one."""
    comments = load_comments()
    groups = (
        f'{_dumped(name)}: {{"help": {_dumped(group["help"])}, "verbs": {_lines(group["verbs"])}}}'
        for name, group in commands(comments).items()
    )
    yield COMMANDS, "{" + ",\n".join(groups) + "}\n"
    yield MESSAGES, _lines(messages(comments)) + "\n"


def _lines(members: Mapping[str, Any]) -> str:
    return "{" + ",\n".join(f"{_dumped(k)}: {_dumped(v)}" for k, v in members.items()) + "}"


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if a committed file is out of date"
    )
    check = parser.parse_args().check
    for path, text in _files():
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"cbrctl/{path.name} is out of date, run `make generate`")


if __name__ == "__main__":
    main()
