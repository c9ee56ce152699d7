"""What the gateway knows of each RPC that its declaration does not say: one file per service
(several for a large one), one constant per RPC.

A constant holds every fact of its RPC; a new file, and a new constant, are found by themselves.
Nothing below imports from here: the catalog puts each RPC's traits into its Binding.
"""

import functools
import importlib
import pkgutil
from collections.abc import Collection
from typing import Final

from gateway.upstream.catalog import Catalog, compile_catalog, own_services
from gateway.upstream.declaration import OnDrift, unheard
from gateway.upstream.traits import AnyTraits, Traits


def _all() -> tuple[AnyTraits, ...]:
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    return tuple(
        value for module in modules for value in vars(module).values() if isinstance(value, Traits)
    )


TRAITS: Final = _all()
"""Of every RPC that has some."""


def load_catalog(handlers: Collection[str] | None = None, on_drift: OnDrift = unheard) -> Catalog:
    """The catalog of this package's own services, with their traits. Raises DeclarationError.

    It is compiled once in a process: neither the protos nor the traits change meanwhile.
    """
    return _compiled(None if handlers is None else frozenset(handlers)).anew(on_drift)


@functools.cache
def _compiled(handlers: frozenset[str] | None) -> Catalog:
    return compile_catalog(own_services(), handlers, traits=TRAITS)
