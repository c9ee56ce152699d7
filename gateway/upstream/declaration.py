"""What each RPC calls: read from its proto declaration, checked against every rule, compiled into a
frozen Binding.

All problems are found before any is reported, so that one start tells an author everything. Nothing
here does I/O.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from msgspec import Struct

from gateway.errors import field_invalid
from gateway.upstream import message_plan, wire
from gateway.upstream.codec import Codecs
from gateway.upstream.id_fields import IdField, id_fields
from gateway.upstream.message_plan import MessagePlan
from gateway.upstream.quoting import encoded
from gateway.upstream.rows import UnreadableRow, unreadable_row
from gateway.upstream.traits import AnyTraits
from gateway.upstream.values import Json, NotEncodableError, ProtocolError

if TYPE_CHECKING:
    from gateway.upstream.typed import TypedReader

IDENTIFIER: Final = "[A-Za-z0-9._-]{1,128}"
_IDENTIFIER_RULE: Final = "a single identifier of 1 to 128 letters, digits, '.', '_' and '-'"
_VARIABLE: Final = re.compile(r"\{([a-z_]+)\}")
_PROJECT: Final = "project_id"
IN_BODY: Final = frozenset({"POST", "PUT"})

OnBadRow: TypeAlias = Callable[[UnreadableRow], None]
"""Hears of a row that cannot be understood."""


OnDrift = Callable[[str, str, str, str], None]
"""Is told where an answer of CBR differs from its description: operation, message, key, and what is
wrong; empty where no field is for the key.
"""


def unheard(_operation: str, _message: str, _key: str, _problem: str) -> None:
    """For those who only look at the catalog."""


class RetryClass(Enum):
    """What may be done after an attempt whose outcome is unknown."""

    READ = "repeat"
    DELETE = "repeat; a 404 then counts as success"
    CONVERGE = "read back, repeat only if the change is absent"
    CREATE = "never repeat; the outcome is unknown"
    NEVER = "never repeat; the outcome is unknown; at most one retry when refused"


class Segment(Struct, frozen=True):
    """One path variable.

    `variable`: the request field it comes from; `key`: its name in the path, which is the field's
    JSON key.

    `pattern`: what it may hold, and `rule` that in words. `words`: those of an enum. `reserved`:
    what other calls of the same verb have in its place. Sent as an id, `batch-update` would change
    every vault instead of one.
    """

    variable: str
    key: str
    pattern: re.Pattern[str]
    rule: str
    words: Mapping[int, str]
    reserved: frozenset[str]

    def text(self, request: Message) -> str:
        """The percent-encoded segment. Raises FIELD_INVALID: encoding alone would not stop `..`."""
        value = getattr(request, self.variable)
        if self.words:
            value = self.words.get(value, "")
        if not self.pattern.fullmatch(value) or value in {".", ".."}:
            raise field_invalid(self.variable, self.rule, "path_segment")
        if value in self.reserved:
            raise field_invalid(
                self.variable,
                "is a word of CBR's own paths and cannot be an identifier",
                "path_segment",
            )
        return encoded(value)


class Binding(Struct, frozen=True):
    """One RPC and the CBR call that carries it out. Made once, read by every call."""

    rpc: str
    """`VaultService/CreateVault`."""
    method: str
    path: str
    """As the vendor writes it: `/v3/{project_id}/vaults`."""
    operation: str
    permission: str
    reads_by: Mapping[str, str]
    """Other RPCs whose lists it is made of -> their permissions, which its caller needs, too."""
    retry_class: RetryClass
    paging: int
    asynchronous: bool
    read_back: str
    custom: bool
    for_administrators: bool
    """Whether it belongs to no tenant: it is declared so, or its path names no project."""
    reads: bool
    audit: int
    """The declared value of AuditLevel."""
    heavy: bool
    concurrency: int
    """The declared value of Concurrency."""
    max_request_bytes: int
    """0: as much as others."""
    max_rows: int
    """0: as many as of other lists."""
    untraceable: bool
    harmless: bool
    descriptor: MethodDescriptor
    request_type: type[Message]
    response_type: type[Message]
    segments: tuple[Segment, ...]
    request_plan: MessagePlan
    response_plan: MessagePlan
    typed: "TypedReader | None"
    """Reads most answers faster than the plan; None where the plan has to read all of them."""
    paths_of_keys: Mapping[str, str]
    """JSON key or query name -> proto field path, for errors of CBR that name a parameter."""
    id_fields: tuple[IdField, ...]
    path_ids: tuple[str, ...]
    """Names of those that are path variables."""
    sends: bool
    """Whether any field of a request goes to the query or the body."""
    on_drift: OnDrift
    traits: AnyTraits

    @property
    def orders(self) -> bool:
        """Whether the vendor's billing system may have a say."""
        return any(fd.name in {"orders", "order_id"} for fd in self.descriptor.output_type.fields)

    def target(self, request: Message, project_id: str) -> str:
        """The percent-encoded path. Raises FIELD_INVALID for a value that is no identifier."""
        known = {_PROJECT: encoded(project_id)}
        for segment in self.segments:
            known[segment.key] = segment.text(request)
        return self.path.format_map(known)

    def fast_response(self, body: bytes) -> Message | None:
        """The response of a success that needs no second look; None: `response` has to read it."""
        if self.typed is None or not self.typed.fast or self.traits.check_answer is not None:
            return None
        found = self.typed.read(body, partial(self.on_drift, self.operation))
        return None if found is None else self.response_type(**found)

    def response(self, value: Json, on_bad_row: OnBadRow | None = None) -> Message:
        """The response of a successful answer's JSON.

        Raises ProtocolError if it misses what is required.

        A change that promises nothing was carried out, whatever its answer says. `on_bad_row`:
        hears of each row of a list that is left out.
        """
        plan = self.response_plan
        if type(value) is not dict and not (self.reads or plan.required or plan.required_one_of):
            self.on_drift(self.operation, plan.full_name, "", "must be an object")
            return self.response_type()
        report = partial(self.on_drift, self.operation)
        if self.typed is not None and self.typed.usable:
            fast = None if self.typed.fast else self.typed.take(value, report)
            if fast is not None:
                return self.response_type(**fast)
            self.typed.learn(value)
        found = plan.read(value, report)
        if on_bad_row is not None and wire.UNREADABLE_ROWS in found:
            self._name_bad_rows(value, on_bad_row)
        return self.response_type(**found)

    def _name_bad_rows(self, value: dict[str, Json], on_bad_row: OnBadRow) -> None:
        plan = self.response_plan
        key, reader = next(
            (key, reader)
            for key, reader in plan.readers.items()
            if reader.name == plan.rows and key in value
        )
        rows = value[key] if type(value[key]) is list else [value[key]]
        for index, row in enumerate(rows):
            try:
                reader.single(row, message_plan.unheard)
            except ProtocolError as error:
                on_bad_row(unreadable_row(index, row, str(error)))

    def members(self, request: Message) -> dict[str, Json]:
        """JSON key -> value of the fields that go to the query or the body.

        Raises FIELD_INVALID for a value without a form there.
        """
        if not self.sends:
            return {}
        try:
            found = self.request_plan.write(request)
        except NotEncodableError as error:
            raise field_invalid(
                ".".join(error.path).replace(".[", "["), error.description, error.rule
            ) from None
        for segment in self.segments:
            found.pop(segment.key, None)
        return found


def query_pairs(members: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Query names and values in the order of the fields; an array repeats its name."""
    return [
        (name, str(item).lower() if isinstance(item, bool) else str(item))
        for name, value in members.items()
        for item in (value if isinstance(value, list) else [value])
    ]


def upstream_option(method: MethodDescriptor) -> options_pb2.Upstream | None:
    options = method.GetOptions()
    return (
        options.Extensions[options_pb2.upstream]
        if options.HasExtension(options_pb2.upstream)
        else None
    )


def rpc_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}/{method.name}"


class Declaration:
    """One method's option with what the rules need to look at."""

    def __init__(self, method: MethodDescriptor) -> None:
        self.rpc = rpc_name(method)
        self.method = method
        self.option = upstream_option(method) or options_pb2.Upstream()
        self.present = upstream_option(method) is not None
        verb = self.option.WhichOneof("call") or ""
        self.verb = verb.upper()
        self.path: str = getattr(self.option, verb) if verb else ""
        self.variables = _VARIABLE.findall(self.path)
        self.level = method.GetOptions().idempotency_level

    @property
    def calls_nothing(self) -> bool:
        """A custom RPC without a CBR call."""
        return self.option.custom and not self.verb

    @property
    def reads(self) -> bool:
        return self.level == MethodOptions.NO_SIDE_EFFECTS

    @property
    def request(self) -> Descriptor:
        return self.method.input_type

    @property
    def sent_fields(self) -> list[FieldDescriptor]:
        """Request fields that go to the query or the body."""
        return [
            f
            for f in self.request.fields
            if f.name not in wire.GATEWAY_FIELDS and wire.json_key(f) not in self.variables
        ]

    @property
    def by_key(self) -> dict[str, FieldDescriptor]:
        """The request's fields by their JSON keys, which are also the names of path variables."""
        return {wire.json_key(f): f for f in self.request.fields}

    @property
    def for_administrators(self) -> bool:
        """As the Binding has it."""
        return self.option.administrators_only or (
            bool(self.path) and f"{{{_PROJECT}}}" not in self.path
        )

    @property
    def _segments(self) -> list[str]:
        """The path's variables, but for the project."""
        return [variable for variable in self.variables if variable != _PROJECT]

    def retry_class(self) -> RetryClass:
        if self.reads:
            return RetryClass.READ
        if self.verb == "DELETE":
            return RetryClass.DELETE
        if self.option.never_resent:
            return RetryClass.NEVER
        return RetryClass.CONVERGE if self.level == MethodOptions.IDEMPOTENT else RetryClass.CREATE

    def compile(
        self,
        codecs: Codecs,
        declared: Mapping[str, "Declaration"],
        on_drift: OnDrift,
        traits: AnyTraits | None,
        typed: "TypedReader | None",
    ) -> Binding:
        """Of a declaration without problems. `declared`: all of them, by RPC."""
        calls = {(d.verb, d.path) for d in declared.values()}
        ids = id_fields(self.request, {self.by_key[v].name for v in self._segments})
        return Binding(
            rpc=self.rpc,
            method=self.verb,
            path=self.path,
            operation=self.option.operation,
            permission=self.option.permission,
            reads_by={
                rpc: declared[rpc].option.permission
                for rpc in self.option.reads_by
                if rpc in declared
            },
            retry_class=self.retry_class(),
            paging=self.option.paging,
            asynchronous=self.option.asynchronous,
            read_back=self.option.read_back,
            custom=self.option.custom,
            for_administrators=self.for_administrators,
            reads=self.reads,
            audit=self.option.audit,
            heavy=self.option.heavy,
            concurrency=self.option.concurrency,
            max_request_bytes=self.option.max_request_kib * 1024,
            max_rows=self.option.max_rows,
            untraceable=self.option.untraceable,
            harmless=self.option.harmless,
            descriptor=self.method,
            request_type=GetMessageClass(self.request),
            response_type=GetMessageClass(self.method.output_type),
            segments=tuple(self._segment(v, calls) for v in self._segments),
            request_plan=codecs.plan(self.request),
            response_plan=codecs.plan(self.method.output_type),
            typed=typed,
            paths_of_keys=_paths_of_keys(self.request),
            id_fields=ids,
            path_ids=tuple(each.names[0] for each in ids if each.in_path),
            sends=bool(self.sent_fields),
            on_drift=on_drift,
            traits=traits or AnyTraits(rpc=self.rpc),
        )

    def _segment(self, variable: str, calls: Collection[tuple[str, str]]) -> Segment:
        fd = self.by_key[variable]
        pattern = fd.GetOptions().Extensions[options_pb2.segment] or IDENTIFIER
        before, _, _ = self.path.partition(f"{{{variable}}}")
        in_its_place = {
            path.removeprefix(before).partition("/")[0]
            for verb, path in calls
            if verb == self.verb and path.startswith(before)
        }
        reserved = frozenset(word for word in in_its_place if not word.startswith("{"))
        words = wire.words(fd.enum_type) if fd.enum_type else {}
        return Segment(fd.name, variable, re.compile(pattern), _segment_rule(fd), words, reserved)


def _segment_rule(fd: FieldDescriptor) -> str:
    if fd.enum_type is not None:
        return "is not a value that CBR knows; use one of the named values"
    return f"must be {fd.GetOptions().Extensions[options_pb2.segment_rule] or _IDENTIFIER_RULE}"


_MAX_NESTING: Final = 6


def _paths_of_keys(request: Descriptor) -> dict[str, str]:
    """Of several fields with one key the outermost counts, then the first."""
    found: dict[str, str] = {}
    for key, path in sorted(_key_paths(request, "", 0), key=lambda pair: pair[1].count(".")):
        found.setdefault(key, path)
    return found


def _key_paths(descriptor: Descriptor, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    for fd in descriptor.fields:
        if fd.name in wire.GATEWAY_FIELDS:
            continue
        path = f"{prefix}{fd.name}"
        inside = fd.message_type
        if (
            inside is not None
            and inside.file.package == descriptor.file.package
            and not wire.is_map(fd)
            and depth < _MAX_NESTING
        ):
            yield from _key_paths(inside, f"{path}.", depth + 1)
        yield wire.json_key(fd), path


Rule = Callable[[Declaration], Iterator[str]]
"""Answers one text for each breach of one rule."""
