"""The rules of a declaration.

Each is one function that answers a text for every breach; together they are what
`cbr-gateway check` reports.

To add a rule: write the function, add it to RULES (one method at a time) or SET_RULES (all methods
together), and add one tiny bad proto with its message to tests/contract/bad.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

from cbrgateway.v1 import options_pb2, types_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from gateway.upstream import wire
from gateway.upstream.declaration import IN_BODY, Declaration, Rule
from gateway.upstream.id_fields import no_object, refers
from gateway.upstream.query_rules import queries

_PLAIN: Final = frozenset({"google.protobuf.Timestamp", "google.type.Date"})
_ID: Final = re.compile(r"(^|_)ids?$")
_PAGED_BY_CBR: Final = frozenset(
    {options_pb2.PAGING_OFFSET, options_pb2.PAGING_MARKER, options_pb2.PAGING_OFFSET_IN_BODY}
)


def _option(d: Declaration) -> Iterator[str]:
    if not d.present:
        yield "has no (cbrgateway.v1.upstream) option; declare its CBR call"
        return
    if not d.verb and not d.option.custom:
        yield "sets none of get, post, put, delete"
    elif d.verb and not d.path.startswith("/v3/"):
        yield f"path {d.path!r} does not begin with /v3/"
    for name in ("operation", "permission"):
        if not getattr(d.option, name) and not (d.calls_nothing and name == "operation"):
            yield f"does not set {name}"


def _streams(d: Declaration) -> Iterator[str]:
    if d.method.client_streaming:
        yield "takes a stream; a request is one message"
    if d.method.server_streaming and not d.calls_nothing:
        yield "answers a stream, which is only for custom RPCs without a CBR call"


def _path(d: Declaration) -> Iterator[str]:
    if d.path.count("{") != len(d.variables) or d.path.count("}") != len(d.variables):
        yield f"path {d.path!r} has braces that hold no field name of a-z and _"
    for variable in d.variables:
        if variable == "project_id":
            if variable in d.by_key:
                yield "project_id must not be a request field; the project is the call's"
            continue
        fd = d.by_key.get(variable)
        if fd is None:
            yield f"path variable {{{variable}}} is not a field of {d.request.name}"
        elif fd.is_repeated or fd.type not in {
            FieldDescriptor.TYPE_STRING,
            FieldDescriptor.TYPE_ENUM,
        }:
            yield f"path variable {{{variable}}} must be a single string or enum"


def _effects(d: Declaration) -> Iterator[str]:
    if d.verb == "GET" and not d.reads:
        yield "is a GET and must be idempotency_level = NO_SIDE_EFFECTS"
    if d.reads and d.verb in {"PUT", "DELETE"}:
        yield f"is a {d.verb} and cannot be idempotency_level = NO_SIDE_EFFECTS"
    if d.verb == "DELETE" and d.level != MethodOptions.IDEMPOTENT:
        yield "is a DELETE and must be idempotency_level = IDEMPOTENT"
    if d.reads and d.option.asynchronous:
        yield "has no side effects and cannot be asynchronous"
    if d.option.never_resent and d.level != MethodOptions.IDEMPOTENCY_UNKNOWN:
        yield "is never_resent and must not set idempotency_level"


def _read_back(d: Declaration) -> Iterator[str]:
    converges = d.verb in IN_BODY and d.level == MethodOptions.IDEMPOTENT
    if converges and not d.option.read_back:
        yield "is IDEMPOTENT and needs read_back, the RPC that shows whether the change was made"
    if d.option.read_back and not converges:
        yield "sets read_back, which is only for IDEMPOTENT calls with POST or PUT"


def _replaced(d: Declaration) -> Iterator[str]:
    for message in reachable(d.request):
        for fd in message.fields:
            if wire.empty(fd) == options_pb2.EMPTY_REPLACED and not d.option.read_back:
                yield (
                    f"field {message.name}.{fd.name} is EMPTY_REPLACED, and the call has no"
                    " read_back that shows what is in force"
                )


def _plain(d: Declaration) -> Iterator[str]:
    if d.reads and d.option.untraceable:
        yield "has no side effects and cannot be untraceable"
    if d.reads and d.option.heavy and not d.option.custom:
        yield "is one read of CBR and cannot be heavy"
    if d.option.max_rows and not d.option.paging:
        yield "sets max_rows, which is only for what is paged"


def _query(d: Declaration) -> Iterator[str]:
    if d.verb in IN_BODY or not d.verb:
        return
    for fd in d.sent_fields:
        if fd.message_type is not None and (
            fd.is_repeated or fd.message_type.full_name not in _PLAIN
        ):
            yield f"field {fd.name} is a message or map and cannot go into the query of a {d.verb}"


def _request_id(d: Declaration) -> Iterator[str]:
    has = "request_id" in d.request.fields_by_name
    # Where nothing is called it can only be a filter.
    if d.reads and has and not d.calls_nothing:
        yield "has no side effects and must not have the field request_id"
    # What calls nothing and may be repeated needs no id to be repeated under.
    harmless = d.calls_nothing and d.level == MethodOptions.IDEMPOTENT
    if d.present and not d.reads and not has and not harmless:
        yield "changes something and needs the field request_id"


def _validate_only(d: Declaration) -> Iterator[str]:
    if d.reads or not d.present:
        return
    asks = d.request.fields_by_name.get("validate_only")
    tells = d.method.output_type.fields_by_name.get("validation")
    if asks is None or asks.type != FieldDescriptor.TYPE_BOOL:
        yield "changes something and needs the request field bool validate_only"
    told = tells.message_type if tells is not None else None
    if told is None or told.full_name != types_pb2.ValidationResult.DESCRIPTOR.full_name:
        yield "changes something and needs the response field ValidationResult validation"


def _lists(d: Declaration) -> Iterator[str]:
    paging, request, response = d.option.paging, d.request.fields_by_name, d.method.output_type
    if paging == options_pb2.PAGING_UNSPECIFIED:
        if "page_token" in request:
            yield "has page_token and needs the option paging"
        return
    for name in ("page_size", "page_token"):
        if name not in request:
            yield f"is paged and needs the request field {name}"
    if "next_page_token" not in response.fields_by_name:
        yield "is paged and needs the response field next_page_token"
    if not any(f.is_repeated and f.message_type for f in response.fields):
        yield "is paged and needs a repeated message field in the response: its rows"
    if not d.calls_nothing and wire.UNREADABLE_ROWS not in response.fields_by_name:
        yield (
            f"is paged and needs the response field {wire.UNREADABLE_ROWS}, the number of rows"
            " that cannot be read"
        )
    if (paging == options_pb2.PAGING_OFFSET_IN_BODY) != (
        d.verb == "POST"
    ) and paging in _PAGED_BY_CBR:
        yield "pages in the body only for POST, and in the query only for GET"


def _messages(d: Declaration) -> Iterator[str]:
    if d.calls_nothing:
        return
    for message in reachable(d.request):
        yield from _fields(message)
    for message in reachable(d.method.output_type):
        yield from _fields(message)
        yield from _raw_words(message)


def _promised(d: Declaration) -> Iterator[str]:
    """An empty success must not look like an empty world."""
    fields = d.method.output_type.fields
    if d.reads and not d.calls_nothing and not any(wire.required(fd) for fd in fields):
        yield (
            f"reads CBR and needs a required field in {d.method.output_type.name}, without which"
            " the answer is of no use"
        )


_ANSWERS_ONLY: Final = frozenset(
    {options_pb2.WIRE_FORM_JSON_TEXT, options_pb2.WIRE_FORM_WHOLE_BODY}
)


def _directions(d: Declaration) -> Iterator[str]:
    """The codec knows some forms in one direction only."""
    for message in reachable(d.request):
        for fd in message.fields:
            if wire.form(fd) in _ANSWERS_ONLY:
                yield (
                    f"field {message.name}.{fd.name} is in a request, and its form is for answers"
                    " only"
                )
    for message in reachable(d.method.output_type):
        for fd in message.fields:
            if wire.form(fd) == options_pb2.WIRE_FORM_COMMA_SEPARATED:
                yield (
                    f"field {message.name}.{fd.name} is in a response, and its form is for queries"
                    " only"
                )


@cache
def _fields(message: Descriptor) -> tuple[str, ...]:
    return tuple(_field_problems(message))


def _field_problems(message: Descriptor) -> Iterator[str]:
    seen: dict[str, FieldDescriptor] = {}
    for fd in message.fields:
        if fd.name in wire.GATEWAY_FIELDS:
            continue
        if problem := wire.kind_problem(fd):
            yield f"field {message.name}.{fd.name}: {problem}"
        for key in wire.read_keys(fd):
            twin = seen.setdefault(key, fd)
            if twin is not fd and (
                fd.containing_oneof is None or fd.containing_oneof is not twin.containing_oneof
            ):
                yield (
                    f"fields {message.name}.{twin.name} and {message.name}.{fd.name} have the same"
                    f" JSON key {key!r}"
                )
    extra = message.fields_by_name.get("extra_fields")
    if extra is not None and (
        extra.message_type is None or extra.message_type.full_name != "google.protobuf.Struct"
    ):
        yield f"field {message.name}.extra_fields must be a google.protobuf.Struct"


def _raw_words(message: Descriptor) -> Iterator[str]:
    for fd in message.fields:
        if (
            fd.enum_type is not None
            and fd.enum_type.full_name != "google.protobuf.NullValue"
            and not fd.is_repeated
            and (
                not wire.raw_sibling(message, fd)
                or message.fields_by_name[f"{fd.name}_raw"].type != FieldDescriptor.TYPE_STRING
            )
        ):
            yield (
                f"field {message.name}.{fd.name} is an enum in a response and needs the string"
                f" field {fd.name}_raw"
            )


def _ids(d: Declaration) -> Iterator[str]:
    """Whatever may name an object says whose it has to be.

    Only the path of the request itself has variables.
    """
    for message in reachable(d.request):
        for fd in message.fields:
            looks = bool(_ID.search(fd.name)) or (
                message is d.request and wire.json_key(fd) in d.variables
            )
            if fd.type != FieldDescriptor.TYPE_STRING or fd.name in wire.GATEWAY_FIELDS:
                continue
            if looks and not (refers(fd) or no_object(fd)):
                yield (
                    f"field {message.name}.{fd.name} looks like an id; declare with refers what it"
                    " names, or with no_object why it names nothing"
                )
            if refers(fd) and no_object(fd):
                yield f"field {message.name}.{fd.name} has both refers and no_object; keep one"


@cache
def reachable(root: Descriptor) -> tuple[Descriptor, ...]:
    """The message and all of our own messages inside it that CBR sends or is sent, each once."""
    found: dict[str, Descriptor] = {}
    waiting = [root]
    while waiting:
        message = waiting.pop()
        if message.full_name in found or message.full_name.startswith("google."):
            continue
        found[message.full_name] = message
        sent = (
            fd
            for fd in message.fields
            if fd.name not in wire.GATEWAY_FIELDS and not wire.is_map(fd)
        )
        waiting.extend(fd.message_type for fd in sent if fd.message_type is not None)
    return tuple(found.values())


RULES: Final[tuple[Rule, ...]] = (
    _option,
    _streams,
    _path,
    _effects,
    _read_back,
    _replaced,
    _plain,
    _query,
    _request_id,
    _validate_only,
    _lists,
    queries,
    _promised,
    _messages,
    _directions,
    _ids,
)

SetRule = Callable[[Sequence[Declaration]], Iterator[str]]


def _unique_calls(declarations: Sequence[Declaration]) -> Iterator[str]:
    calls: dict[tuple[str, str], str] = {}
    operations: dict[str, str] = {}
    for d in declarations:
        if d.verb and (first := calls.setdefault((d.verb, d.path), d.rpc)) != d.rpc:
            yield f"{d.rpc}: {d.verb} {d.path} is already the call of {first}"
        if (
            d.option.operation
            and (first := operations.setdefault(d.option.operation, d.rpc)) != d.rpc
        ):
            yield f"{d.rpc}: operation {d.option.operation} is already carried out by {first}"


def _read_back_exists(declarations: Sequence[Declaration]) -> Iterator[str]:
    readers = {d.rpc for d in declarations if d.reads}
    for d in declarations:
        if d.option.read_back and d.option.read_back not in readers:
            yield f"{d.rpc}: read_back {d.option.read_back!r} is not an RPC without side effects"


def _reads_by_exists(declarations: Sequence[Declaration]) -> Iterator[str]:
    readers = {d.rpc for d in declarations if d.reads and not d.for_administrators}
    for d in declarations:
        for rpc in d.option.reads_by:
            if rpc not in readers:
                yield f"{d.rpc}: reads_by {rpc!r} is not an RPC of tenants without side effects"


SET_RULES: Final[tuple[SetRule, ...]] = (_unique_calls, _read_back_exists, _reads_by_exists)
