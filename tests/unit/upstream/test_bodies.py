"""Every answer that is documented or was recorded, in forms that it does not have there: with null
at any place, with a repeated key, cut, in another encoding, behind a byte order mark.
"""

import copy
import json
import re
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from gateway.operations import load_catalog
from gateway.upstream.http import HttpResponse
from gateway.upstream.outcome import judge
from gateway.upstream.upstream_error import read_error
from gateway.upstream.values import ProtocolError

ROOT = Path(__file__).parents[2]
CATALOG = {binding.operation: binding for binding in load_catalog() if binding.path}
RPCS = {binding.rpc: binding.operation for binding in CATALOG.values()}


def answers():
    """Name -> (operation, status, body); from an example only where nothing was recorded."""
    recorded = set()
    for file in sorted((ROOT / "recorded").glob("*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        recorded.add(found["operation"])
        yield file.stem, (found["operation"], found["status"], found["body"])
    for file in sorted((ROOT / "examples").glob("*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        if (operation := RPCS[found["rpc"]]) not in recorded:
            yield file.stem, (operation, found["answer"]["status"], found["answer"]["body"])


ANSWERS = dict(answers())
SUCCESSES = {
    name: answer
    for name, answer in ANSWERS.items()
    if answer[1] < 300 and isinstance(answer[2], dict) and answer[2]
}
ERRORS = {
    name: answer[1:]
    for name, answer in ANSWERS.items()
    if answer[1] >= 300 and isinstance(answer[2], dict)
}
VERDICTS = {"retCode", "error_code"}
"""Two of them prove nothing."""
FREE = {"exclude_volumes"}
"""Where anything may stand; what cannot be taken is kept there."""
KEY = re.compile(r'(?<!\\)"(\w+)": ')


def written(value):
    return json.dumps(value, ensure_ascii=False)


def read(operation, status, body):
    """The message in an answer, or why there is none; the same in both ways of reading."""
    binding = CATALOG[operation]
    raw = HttpResponse(status, {}, body if isinstance(body, bytes) else written(body).encode())
    for fast in (binding.fast_response, lambda _body: None):
        attempt = judge(raw, reads=binding.reads, fast=fast)
        if attempt.message is not None:
            yield attempt.message
        elif attempt.value is None:
            yield attempt.error or attempt.problem
        else:
            try:
                yield binding.response(attempt.value)
            except ProtocolError as error:
                yield str(error)


def places(value, path=()):
    """The path of every member of an object, at any depth."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside:
        if isinstance(value, dict):
            yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def without(value, path, *, null):
    changed = copy.deepcopy(value)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    if null:
        holder[path[-1]] = None
    else:
        del holder[path[-1]]
    return changed


def pruned(found):
    """A message without the nulls in what no field is for, which are kept as they are."""
    return some(json_format.MessageToDict(found)) if isinstance(found, Message) else found


def unkept(found):
    """Without what is kept because no field takes it."""
    if isinstance(found, dict):
        return some({key: unkept(held) for key, held in found.items() if key != "extraFields"})
    return [*map(unkept, found)] if isinstance(found, list) else found


def some(value):
    if isinstance(value, dict):
        inside = {key: some(each) for key, each in value.items()}
        return {key: each for key, each in inside.items() if each not in (None, {}, [])}
    if isinstance(value, list):
        return [each for each in map(some, value) if each not in (None, {}, [])]
    return value


@pytest.mark.parametrize("name", SUCCESSES)
def test_null_at_any_place_is_as_nothing_there(name):
    operation, status, body = SUCCESSES[name]
    if CATALOG[operation].response_plan.whole_body:
        return
    each_once = {tuple(step for step in path if type(step) is str): path for path in places(body)}
    for path in each_once.values():
        null, null_slowly = read(operation, status, without(body, path, null=True))
        gone, gone_slowly = read(operation, status, without(body, path, null=False))
        assert null == null_slowly, path
        assert gone == gone_slowly, path
        assert pruned(null) == pruned(gone), path


@pytest.mark.parametrize("name", SUCCESSES)
def test_a_success_is_read_only_from_one_whole_document(name):
    operation, status, body = SUCCESSES[name]
    raw = written(body).encode()
    forms = [raw + raw, raw + b" {}", raw[:-1]]
    forms += [raw[: len(raw) * part // 16] for part in range(1, 16)]
    for form in forms:
        assert not any(isinstance(found, Message) for found in read(operation, status, form)), form


@pytest.mark.parametrize("name", SUCCESSES)
def test_a_success_is_the_same_in_any_unicode_encoding_as_long_as_it_is_whole(name):
    operation, status, body = SUCCESSES[name]
    text, (plain, _) = written(body), read(operation, status, body)
    for encoding in ("utf-16", "utf-16-be", "utf-32", "utf-8-sig"):
        raw = text.encode(encoding)
        assert set(map(str, read(operation, status, raw))) == {str(plain)}
        for part in (raw[:-1], raw[: len(raw) // 2], raw + raw):
            assert not any(isinstance(found, Message) for found in read(operation, status, part))


@pytest.mark.parametrize("name", SUCCESSES)
def test_of_a_repeated_key_the_last_counts_in_a_read_and_none_in_the_answer_to_a_change(name):
    operation, status, body = SUCCESSES[name]
    text, (plain, _) = written(body), read(operation, status, body)
    plainly = (path for path in places(body) if re.fullmatch(r"\w+", path[-1]))
    for key, path in zip(KEY.finditer(text), plainly, strict=True):
        assert key[1] == path[-1]
        twice = text[: key.start()] + f'"{key[1]}": ["?"], ' + text[key.start() :]
        fast, slow = read(operation, status, twice.encode())
        if CATALOG[operation].reads:
            assert fast == slow == plain, twice
            continue
        assert fast == slow
        if key[1] in VERDICTS:
            assert slow.code == "", twice
            continue
        gone, _ = read(operation, status, without(body, path, null=False))
        assert isinstance(slow, Message) <= isinstance(gone, Message), twice
        assert key[1] in FREE or unkept(pruned(slow)) == unkept(pruned(gone)), twice


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_keeps_its_code_in_any_encoding_cut_behind_it_and_with_repeated_keys(name):
    status, body = ERRORS[name]
    text = written(body)
    plain = read_error(status, text.encode())
    assert plain.code
    behind = text.index(f'"{plain.code}"') + len(plain.code) + 2 if f'"{plain.code}"' in text else 0
    forms = [
        text.encode(name) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "gb18030")
    ]
    if behind:
        forms += [text[:end].encode() for end in range(behind, len(text))]
        forms += [text.encode("utf-16")[:end] for end in range(2 * behind + 2, 2 * len(text), 5)]
    for key in KEY.finditer(text):
        if isinstance(body.get(key[1], ""), str) and key[1] not in {"error_code", "code"}:
            forms.append(
                (text[: key.start()] + f'"{key[1]}": "x", ' + text[key.start() :]).encode()
            )
    for form in forms:
        error = read_error(status, form)
        assert (error.code, error.wrapper) == (plain.code, plain.wrapper), form
        assert error.proves_nothing_done == plain.proves_nothing_done
    for end in range(text.index(plain.code)):
        assert read_error(status, text[:end].encode()).code == ""
