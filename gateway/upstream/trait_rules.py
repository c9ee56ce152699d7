"""The rules of traits: what an RPC needs in `gateway.operations`, and what it cannot have.

Reported with those of the declarations (rules.py).

To add a rule: write the function, add it to TRAIT_RULES, and add a bad example with its message to
tests/contract/test_bad_traits.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from gateway.upstream import etags
from gateway.upstream.declaration import Declaration, RetryClass
from gateway.upstream.traits import AnyObjectRead, AnyProof, AnyTraits, Traits
from gateway.upstream.wire import rows_field

Declared = Mapping[str, Declaration]
TraitRule = Callable[[Declaration, AnyTraits, Declared], Iterator[str]]
"""Answers one text for each breach, from an RPC, its traits, and all RPCs by name."""


_FOR_READS: Final = frozenset({"rpc", "sieve", "check_owner", "check_answer", "counts"})


def _changes_only(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if d.reads:
        bare: AnyTraits = Traits(rpc=traits.rpc)
        for name in Traits.__struct_fields__:
            if name not in _FOR_READS and getattr(traits, name) != getattr(bare, name):
                yield f"has no side effects and cannot have the trait {name}"


def _object_reads(_d: Declaration, traits: AnyTraits, all_: Declared) -> Iterator[str]:
    shown = {each.method.output_type for each in all_.values() if each.reads}
    reads: dict[str, AnyObjectRead | AnyProof | None] = {
        "gone": traits.gone,
        "read_first": traits.read_first.shown_by if traits.read_first else None,
        "result": traits.result.shown_by if traits.result else None,
        "proof": traits.proof,
    }
    for name, by in reads.items():
        if by is not None and (response := by.read.response.DESCRIPTOR) not in shown:
            yield (
                f"the trait {name} reads a {response.name}, which no RPC without side effects"
                " answers"
            )


def _amounts(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if traits.read_first is not None and traits.deltas is None:
        yield "has the trait read_first and needs deltas, the amounts that depend on what is read"
    if traits.resize is not None and traits.deltas is None:
        yield "has the trait resize and needs deltas, the amounts by which it grows"
    if d.verb == "DELETE" and traits.deltas is not None and traits.gone is None:
        yield "is a DELETE with deltas and needs gone, the read that shows when they are given back"


def _losing(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    guarded = traits.losing is not None and traits.losing.guard is not None
    if guarded != ("force" in d.request.fields_by_name):
        yield (
            "needs both the trait losing with a guard, which tells what it destroys, and the"
            " request field force, without which it is refused"
        )


def _etag(d: Declaration, traits: AnyTraits, all_: Declared) -> Iterator[str]:
    if etags.FIELD not in d.request.fields_by_name:
        return
    read = all_.get(d.option.read_back)
    shown = (
        traits.gone.response.DESCRIPTOR
        if traits.gone is not None
        else read.method.output_type
        if read is not None and not read.option.paging
        else None
    )
    if shown is None or len(etags.objects(shown)) != 1:
        yield (
            "has the request field etag and needs gone or read_back, the read that shows the one"
            " object with an etag"
        )


def _checks(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if traits.read_back is not None and not d.option.read_back:
        yield "has the trait read_back and does not declare read_back, the RPC to read"
    if traits.mark is not None and d.retry_class() not in {RetryClass.CREATE, RetryClass.NEVER}:
        yield (
            f"has the trait mark, and a {d.verb} that may be sent twice creates nothing that"
            " needs one"
        )


def _tasks(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if d.option.asynchronous and not d.reads and traits.search is None:
        yield (
            "is asynchronous and needs the trait search, by which the tasks are found that it"
            " starts"
        )
    if traits.search is not None and traits.answer is None and traits.result is None:
        yield (
            "has the trait search and needs answer or result, which make up the response where"
            " CBR's own was lost"
        )
    if traits.search is not None and not d.option.asynchronous:
        yield "has the trait search and is not asynchronous"
    for name in ("answer", "result", "description"):
        if getattr(traits, name) is not None and traits.search is None:
            yield (
                f"has the trait {name} and needs search, by which the tasks are found that it is"
                " about"
            )


def _created(d: Declaration, traits: AnyTraits, all_: Declared) -> Iterator[str]:
    creates = traits.creates
    if creates is None:
        return
    asked, row = creates.listed().DESCRIPTOR, creates.row.DESCRIPTOR
    listing = next((d for d in all_.values() if d.request == asked and d.option.paging), None)
    if listing is None:
        yield f"the trait creates lists by a {asked.name}, which no RPC with pages takes"
    elif (
        row
        != (answer := listing.method.output_type).fields_by_name[rows_field(answer)].message_type
    ):
        yield f"the trait creates has rows of {row.name}, which {answer.name} does not hold"
    if creates.member not in d.request.fields_by_name:
        yield (
            f"the trait creates has the member {creates.member!r}, which is not a field of"
            f" {d.request.name}"
        )
    for name in ("deltas", "created_id"):
        if getattr(traits, name) is None:
            yield f"has the trait creates and needs {name}, since what it makes is counted"


def _evidence(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    once = d.verb and not d.reads and d.retry_class() in {RetryClass.CREATE, RetryClass.NEVER}
    if once and not (traits.search or traits.creates or traits.proof or d.option.untraceable):
        yield (
            "is sent at most once and needs the trait search, creates or proof, which shows whether"
            " it was carried out, or to be declared untraceable"
        )


def _lists(d: Declaration, traits: AnyTraits, _all: Declared) -> Iterator[str]:
    if traits.sieve is not None and not d.option.paging:
        yield "has the trait sieve, which is only for what is paged"


TRAIT_RULES: Final[tuple[TraitRule, ...]] = (
    _changes_only,
    _object_reads,
    _amounts,
    _losing,
    _etag,
    _checks,
    _tasks,
    _created,
    _evidence,
    _lists,
)


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
