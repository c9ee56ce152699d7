"""Every Binding, by RPC name; the one place where declarations are compiled."""

import importlib
import pkgutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

import cbrgateway.v1
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from msgspec import Struct
from msgspec.structs import replace

from gateway.upstream.codec import Codecs
from gateway.upstream.declaration import Binding, Declaration, OnDrift, unheard
from gateway.upstream.rules import RULES, SET_RULES
from gateway.upstream.trait_rules import trait_problems
from gateway.upstream.traits import AnyTraits
from gateway.upstream.typed import TypedReader


class DeclarationError(Exception):
    """The protos declare something that cannot be carried out.

    `problems` holds all of it, one line each.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__(
            f"{len(self.problems)} problems in the declarations:\n  " + "\n  ".join(self.problems)
        )


class Catalog(Struct, frozen=True, dict=True):
    """All bindings, in the order of the services and their RPCs."""

    bindings: Mapping[str, Binding]
    codecs: Codecs

    @cached_property
    def _by_request(self) -> Mapping[type[Message], Binding]:
        return {binding.request_type: binding for binding in self}

    def __getitem__(self, rpc: str) -> Binding:
        return self.bindings[rpc]

    def __iter__(self) -> Iterator[Binding]:
        return iter(self.bindings.values())

    def anew(self, on_drift: OnDrift) -> "Catalog":
        """The same one, which has learnt nothing from answers yet; `on_drift` hears of them."""
        return replace(self, bindings={each.rpc: self._anew(each, on_drift) for each in self})

    def _anew(self, binding: Binding, on_drift: OnDrift) -> Binding:
        typed = binding.typed
        if typed is not None:
            answer = binding.descriptor.output_type
            typed = TypedReader(answer, self.codecs, reads=binding.reads)
        return replace(binding, on_drift=on_drift, typed=typed)

    def asked_by(self, request: Message) -> Binding:
        """The RPC whose request it is."""
        return self._by_request[type(request)]

    def services(self) -> list[str]:
        """Full names of their services."""
        return list(
            dict.fromkeys(binding.descriptor.containing_service.full_name for binding in self)
        )


def compile_catalog(
    descriptors: Iterable[ServiceDescriptor],
    handlers: Collection[str] | None = (),
    on_drift: OnDrift = unheard,
    traits: Collection[AnyTraits] = (),
) -> Catalog:
    """Checks and compiles the declarations of services, with the traits of their RPCs.

    Raises DeclarationError.

    `handlers`: names of the RPCs with a handler written by hand; None: not checked, for those who
    only read the catalog.
    """
    declarations = [Declaration(method) for service in descriptors for method in service.methods]
    problems = [f"{d.rpc}: {text}" for d in declarations for rule in RULES for text in rule(d)]
    for rule in SET_RULES:
        problems.extend(rule(declarations))
    problems.extend(trait_problems({d.rpc: d for d in declarations}, traits))
    if handlers is not None:
        problems.extend(_handlers(declarations, handlers))
    if problems:
        raise DeclarationError(problems)
    codecs = Codecs()
    declared = {d.rpc: d for d in declarations}
    by_rpc = {each.rpc: each for each in traits}
    bindings = (
        d.compile(
            codecs,
            declared,
            on_drift,
            by_rpc.get(d.rpc),
            TypedReader(d.method.output_type, codecs, reads=d.reads) if d.verb else None,
        )
        for d in declarations
    )
    return Catalog({binding.rpc: binding for binding in bindings}, codecs)


def _handlers(declarations: Iterable[Declaration], handlers: Collection[str]) -> Iterator[str]:
    custom = {d.rpc for d in declarations if d.option.custom}
    for rpc in sorted(custom - set(handlers)):
        yield f"{rpc}: is custom and has no handler"
    for rpc in sorted(set(handlers) - custom):
        yield f"{rpc}: has a handler and is not declared custom"


def own_services() -> list[ServiceDescriptor]:
    """Every service of the package `cbrgateway.v1`, by the name of its file.

    A new file is found by itself.
    """
    names = sorted(
        module.name
        for module in pkgutil.iter_modules(cbrgateway.v1.__path__)
        if module.name.endswith("_pb2")
    )
    files = [importlib.import_module(f"cbrgateway.v1.{name}").DESCRIPTOR for name in names]
    return [service for file in files for service in file.services_by_name.values()]
