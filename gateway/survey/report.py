"""What a survey found, as a file that can be sent to those who maintain the gateway: operations,
keys, types and words, and nothing of the account's.

A key or word of an answer is shown only if it looks like one of a program: a name or an id that
stands where a key is expected is not shown.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import version
from typing import Any, Final

from msgspec.structs import replace

from gateway.survey.answers import Answer
from gateway.survey.differences import Difference, Kind, differences
from gateway.survey.run import Visit
from gateway.upstream.http import HttpResponse
from gateway.upstream.outcome import SUCCESS, Attempt, judge
from gateway.upstream.values import Json

_KEY: Final = re.compile(r"(?!(?:.*[0-9]){4})[A-Za-z][A-Za-z0-9_]{0,39}")
_WORD: Final = re.compile(r"[A-Za-z](?:[A-Za-z:_-]{0,38}[A-Za-z])?(?:_v[0-9])?")
_CODE: Final = re.compile(r"[A-Za-z]{2,20}\.[0-9]{3,8}")
_MANY: Final = 20
"""Unknown keys of one object's answers; more are ids or names."""
HIDDEN: Final = "(not shown)"


def report(visits: Iterable[Visit]) -> dict[str, Any]:
    """The report, ready for JSON."""
    by_flavor: dict[str, list[Visit]] = {}
    for visit in visits:
        by_flavor.setdefault(visit.flavor.key, []).append(visit)
    clouds = [
        {
            "flavor": flavor,
            "projects": len(those),
            "operations": list(_operations(those)),
            "not_called": _unmade(those),
        }
        for flavor, those in by_flavor.items()
    ]
    return {"report": 1, "gateway": version("cbr-gateway"), "clouds": clouds}


def is_word(text: str) -> bool:
    """Whether a text looks like a word of an enum, which names nobody."""
    return _WORD.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Whether a text looks like a key of the cloud's own."""
    return _KEY.fullmatch(text) is not None


def _operations(visits: list[Visit]) -> Iterator[dict[str, Any]]:
    answers = [answer for visit in visits for answer in visit.answers]
    unreadable = sum((visit.unreadable for visit in visits), Counter[tuple[str, str, str, str]]())
    names = {text for answer in answers for text in _texts(answer.value)}
    for binding in {answer.binding.rpc: answer.binding for answer in answers}.values():
        those = [answer for answer in answers if answer.binding is binding]
        found = Counter(
            each
            for answer in those
            if answer.status in SUCCESS
            for each in _differences(answer, names)
        )
        for (operation, message, key, problem), count in unreadable.items():
            if operation == binding.operation:
                found[
                    Difference(
                        f"{message.rpartition('.')[2]}.{key if is_key(key) else HIDDEN}",
                        Kind.UNREADABLE,
                        "",
                        problem,
                    )
                ] += count
        codes = {
            attempt.error.code
            for attempt in map(_attempt, those)
            if attempt.error is not None and _CODE.fullmatch(attempt.error.code)
        }
        yield {
            "operation": binding.operation,
            "rpc": binding.rpc,
            "statuses": dict(sorted(Counter(str(answer.status) for answer in those).items())),
            "codes": sorted(codes),
            "differences": [
                _row(each, count)
                for each, count in sorted(_bounded(found).items(), key=lambda pair: str(pair[0]))
            ],
        }


def _attempt(answer: Answer) -> Attempt:
    return judge(HttpResponse(answer.status, {}, answer.body), reads=True)


def _texts(value: Json) -> Iterator[str]:
    """Every text inside."""
    if type(value) is str:
        yield value
    for item in value.values() if type(value) is dict else value if type(value) is list else ():
        yield from _texts(item)


def _differences(answer: Answer, names: Collection[str]) -> Iterator[Difference]:
    """`names`: what stands in answers as a value, which is not shown where it is a key."""
    for each in differences(answer.binding.descriptor.output_type, answer.value):
        above, _, key = each.path.rpartition(".")
        word = each.word if not each.word or is_word(each.word) else HIDDEN
        if each.kind is Kind.UNKNOWN_KEY and (key in names or not is_key(key)):
            yield replace(each, path=f"{above}.{HIDDEN}" if above else HIDDEN, word=word)
        else:
            yield replace(each, word=word)


def _bounded(found: Counter[Difference]) -> Counter[Difference]:
    """Without the unknown keys of an object that has too many to be keys."""
    keys = Counter(each.path.rpartition(".")[0] for each in found if each.kind is Kind.UNKNOWN_KEY)
    bounded: Counter[Difference] = Counter()
    for each, count in found.items():
        above = each.path.rpartition(".")[0]
        many = each.kind is Kind.UNKNOWN_KEY and keys[above] > _MANY
        bounded[replace(each, path=f"{above}.{HIDDEN}" if above else HIDDEN) if many else each] += (
            count
        )
    return bounded


def _row(each: Difference, count: int) -> dict[str, Any]:
    told = {
        "path": each.path,
        "kind": str(each.kind),
        "type": each.type,
        "expected": each.expected,
        "word": each.word,
    }
    return {name: value for name, value in told.items() if value} | {"count": count}


def _unmade(visits: list[Visit]) -> dict[str, str]:
    """Why an RPC was called in none of the projects."""
    called = {answer.binding.rpc for visit in visits for answer in visit.answers}
    return {
        rpc: why
        for visit in visits
        for rpc, why in (visit.failed | visit.unmade).items()
        if rpc not in called
    }
