"""The rules of traits: what an RPC needs in `gateway.operations`, and what it cannot have. Reported with those of the declarations (rules.py).

To add a rule: write the function, add it to TRAIT_RULES, and add a bad example with its message to tests/contract/test_bad_traits.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from gateway.upstream.declaration import Declaration, RetryClass
from gateway.upstream.traits import AnyTraits

Declared = Mapping[str, Declaration]
TraitRule = Callable[[Declaration, AnyTraits, Declared], Iterator[str]]
"""Answers one text for each breach, from an RPC, its traits, and all RPCs by name."""


def _changes_only(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if d.reads:
        for name in ("deltas", "read_first", "resize", "shares", "expands", "created_id", "gone", "read_back", "mark"):
            if getattr(traits, name) is not None:
                yield f"has no side effects and cannot have the trait {name}"
        if traits.heavy:
            yield "has no side effects and cannot have the trait heavy"


def _object_reads(_d: Declaration, traits: AnyTraits, all_: Declared) -> Iterator[str]:
    shown_by = {"gone": traits.gone, "read_first": traits.read_first.shown_by if traits.read_first else None}
    for name, read in shown_by.items():
        if read is None:
            continue
        if read.rpc not in all_ or not all_[read.rpc].reads:
            yield f"the trait {name} reads {read.rpc!r}, which is not an RPC without side effects"
        elif read.field not in all_[read.rpc].request.fields_by_name:
            yield f"the trait {name} sets {read.field!r}, which is not a field of {all_[read.rpc].request.name}"


def _amounts(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if traits.read_first is not None and traits.deltas is None:
        yield "has the trait read_first and needs deltas, the amounts that depend on what is read"
    if traits.resize is not None and traits.deltas is None:
        yield "has the trait resize and needs deltas, the amounts by which it grows"
    if d.verb == "DELETE" and traits.deltas is not None and traits.gone is None:
        yield "is a DELETE with deltas and needs gone, the read that shows when they are given back"


def _checks(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if traits.read_back is not None and not d.option.read_back:
        yield "has the trait read_back and does not declare read_back, the RPC to read"
    if traits.mark is not None and d.retry_class() not in {RetryClass.CREATE, RetryClass.NEVER}:
        yield f"has the trait mark, and a {d.verb} that may be sent twice creates nothing that needs one"


def _tasks(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if d.option.asynchronous and not d.reads and traits.search is None:
        yield "is asynchronous and needs the trait search, by which the tasks are found that it starts"
    if traits.search is not None and not d.option.asynchronous:
        yield "has the trait search and is not asynchronous"
    if traits.answer is not None and traits.search is None:
        yield "has the trait answer and needs search, by which the tasks are found that show the response"


def _lists(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    for name in ("max_rows", "sieve"):
        if getattr(traits, name) is not None and not d.option.paging:
            yield f"has the trait {name}, which is only for what is paged"


TRAIT_RULES: Final[tuple[TraitRule, ...]] = (_changes_only, _object_reads, _amounts, _checks, _tasks, _lists)


def trait_problems(declared: Declared, traits: Iterable[AnyTraits]) -> Iterator[str]:
    """One line for each breach. RPCs without traits need some, too."""
    by_rpc: dict[str, AnyTraits] = {}
    for each in traits:
        if each.rpc not in declared:
            yield f"{each.rpc}: has traits and is not declared"
        if by_rpc.setdefault(each.rpc, each) is not each:
            yield f"{each.rpc}: has traits in two places; join them"
    for rpc, d in declared.items():
        for rule in TRAIT_RULES:
            for text in rule(d, by_rpc.get(rpc) or AnyTraits(rpc=rpc), declared):
                yield f"{rpc}: {text}"
