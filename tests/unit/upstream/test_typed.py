"""The fast way to read answers: it comes to what the plan comes to, or leaves it to the plan."""

import itertools

import msgspec
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.operations import load_catalog
from gateway.upstream import strict_json, tolerant_json
from gateway.upstream.codec import Codecs
from gateway.upstream.http import HttpResponse
from gateway.upstream.outcome import judge
from gateway.upstream.typed import TypedReader
from gateway.upstream.values import ProtocolError
from tests.unit.upstream.messages import messages
from tests.unit.upstream.test_codec import (
    LOSSLESS,
    ONE_OF_EACH,
    RESPONSES,
    UNREADABLE,
    answers,
    fill_required,
    least,
)
from tests.unit.upstream.test_error_in_success import ERRORS, PLACED

CODECS = Codecs()
CATALOG = load_catalog()
TYPED = [b for b in CATALOG if b.typed is not None and b.typed.fast]
LOOKED_AT = [b for b in CATALOG if b.typed is not None and b.typed.usable and not b.typed.fast]
few = settings(max_examples=5)
every_read = pytest.mark.parametrize(
    "descriptor", [b.descriptor.output_type for b in (*TYPED, *LOOKED_AT)], ids=lambda d: d.name
)
every_answer = pytest.mark.parametrize("descriptor", RESPONSES, ids=lambda d: d.name)


def reader_of(descriptor):
    return TypedReader(descriptor, CODECS, top=False)


def fresh(rpc):
    """A binding that has seen no answer yet."""
    binding = CATALOG[rpc]
    answer = binding.descriptor.output_type
    return replace(binding, typed=TypedReader(answer, CODECS, reads=binding.reads))


def by_plan(descriptor, value, read=None):
    """The message, and what was reported, sorted; None where it cannot be read."""
    reported = []
    try:
        found = CODECS.plan(descriptor).read(value, lambda *what: reported.append(what))
    except ProtocolError:
        return None
    return GetMessageClass(descriptor)(**found), sorted(reported)


def fast(reader, descriptor, value):
    """As by_plan; "plan" where it is left to the plan."""
    reported, again = [], []
    body = msgspec.json.encode(value)
    found = reader.read(body, lambda *what: reported.append(what))
    taken = reader.take(strict_json.loads(body), lambda *what: again.append(what))
    assert (taken, again) == (found, reported)
    if found is None:
        return "plan"
    return GetMessageClass(descriptor)(**found), sorted(reported)


def agree(reader, descriptor, value):
    """Whether the fast way reads it, at once or once it was learnt from."""
    wanted = by_plan(descriptor, value)
    first = fast(reader, descriptor, value)
    if first != "plan":
        assert first == wanted
        return True
    reader.learn(strict_json.loads(msgspec.json.encode(value)))
    second = fast(reader, descriptor, value)
    assert second in (wanted, "plan")
    return second != "plan"


@every_answer
def test_both_ways_agree_on_a_member_of_any_json_type(descriptor):
    base, reader = least(descriptor), reader_of(descriptor)
    plan = CODECS.plan(descriptor)
    assert agree(reader, descriptor, base) == (not plan.required_one_of and not plan.whole_body)
    for key in [*plan.readers, "new"]:
        for sample in (None, *ONE_OF_EACH):
            agree(reader_of(descriptor), descriptor, base | {key: sample})


@every_read
@given(data=st.data())
@few
def test_both_ways_agree_on_any_answers_one_after_the_other(data, descriptor):
    reader = reader_of(descriptor)
    for value in data.draw(st.lists(answers(descriptor), max_size=4)):
        agree(reader, descriptor, least(descriptor) | value)
        agree(reader, descriptor, value)


@every_read
@given(data=st.data())
@few
def test_both_ways_agree_on_what_could_be_written(data, descriptor):
    reader = reader_of(descriptor)
    for message in data.draw(st.lists(messages(descriptor), max_size=3)):
        fill_required(message)
        agree(reader, descriptor, CODECS.plan(descriptor).write(message))


@pytest.mark.parametrize(
    ("message", "answer"),
    [case[:2] for case in (*LOSSLESS, *UNREADABLE)],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_both_ways_agree_on_types_that_were_not_expected(message, answer):
    reader = reader_of(message.DESCRIPTOR)
    agree(reader, message.DESCRIPTOR, least(message.DESCRIPTOR) | answer)
    agree(reader, message.DESCRIPTOR, least(message.DESCRIPTOR))
    agree(reader, message.DESCRIPTOR, least(message.DESCRIPTOR) | answer)


VAULT = {
    "id": "v",
    "name": "n",
    "description": None,
    "created_at": "2026-03-25T06:32:07.951164",
    "billing": {"status": "available", "size": 200},
    "resources": [{"id": "r", "extra_info": {}}],
}
DRIFTED = [
    {"new": {"a": [1]}},
    {"new": None},
    {"name": 5},
    {"created_at": 1750000000},
    {"billing": {"status": "a new word", "size": 200}},
    {"billing": {"status": "available", "size": "200"}},
    {"billing": {"status": "available", "new": 1}},
    {"resources": [{"id": "r", "new": 1}, {"id": 5}]},
    {"resources": [None]},
    {"id": 7},
]


@pytest.mark.parametrize("drift", DRIFTED, ids=str)
def test_a_list_goes_the_fast_way_again_once_a_new_member_was_seen(drift):
    listed = fresh("VaultService/ListVaults")
    answer = {"vaults": [VAULT, VAULT | drift], "count": 2}
    body = msgspec.json.encode(answer)
    assert listed.fast_response(body) is None
    response = listed.response(answer)
    assert listed.fast_response(body) == response


def test_rows_that_cannot_be_read_are_left_to_the_plan_and_the_others_are_not():
    listed = fresh("VaultService/ListVaults")
    answer = {"vaults": [VAULT], "limit": 50, "offset": 0}
    listed.response(answer)
    for bad in (5, None, {}, {"id": ""}, {"id": []}):
        assert listed.response(answer | {"vaults": [VAULT, bad]}).unreadable_rows == 1
        assert listed.fast_response(msgspec.json.encode(answer | {"vaults": [VAULT, bad]})) is None
    assert listed.fast_response(msgspec.json.encode(answer)) == listed.response(answer)


def test_nothing_grows_without_bound():
    listed = fresh("VaultService/ListVaults")
    for number in range(100):
        answer = {"vaults": [VAULT | {f"new_{number}": number}]}
        response = listed.response(answer)
        assert listed.fast_response(msgspec.json.encode(answer)) in (response, None)
    assert listed.typed._shape.known() < 100


@pytest.mark.parametrize("binding", TYPED, ids=lambda b: b.rpc)
def test_errors_and_orders_in_a_success_are_seen(binding):
    binding = fresh(binding.rpc)
    good = least(binding.descriptor.output_type)
    for told in [*ERRORS, {"errText": "no"}, {"retCode": 1}, {"orderId": "CS1"}, PLACED]:
        for answer in (told, good | told):
            response = HttpResponse(200, {}, msgspec.json.encode(answer))
            wanted = judge(response, reads=True)
            binding.typed.learn(strict_json.loads(response.body))
            found = judge(response, reads=True, fast=binding.fast_response)
            assert found == wanted
    binding.typed.learn(good)
    assert (
        binding.fast_response(msgspec.json.encode(good)) is None or not binding.typed._shape.closed
    )


@pytest.mark.parametrize("rpc", ["VaultService/CreateVault", "OrderService/UpdateOrder"])
def test_an_answer_that_may_tell_of_an_order_is_looked_at_first(rpc):
    binding, good = fresh(rpc), least(CATALOG[rpc].descriptor.output_type)
    assert binding.response(good) == binding.response(good)
    assert binding.fast_response(msgspec.json.encode(good)) is None


@pytest.mark.parametrize(
    "answer",
    [{}, {"vault": None}, {"orders": None}, {"orders": []}, {"vault": VAULT}, {"vault": {}}],
    ids=str,
)
def test_both_ways_want_one_of_several_fields(answer):
    descriptor = CATALOG["VaultService/CreateVault"].descriptor.output_type
    reader = TypedReader(descriptor, CODECS, reads=False)
    for each in ({"vault": VAULT}, answer, answer):
        agree(reader, descriptor, each)


def test_most_reads_go_the_fast_way():
    reads = [binding for binding in CATALOG if binding.reads and binding.path]
    assert len(TYPED) > 0.75 * len(reads)


def test_what_is_nested_too_deeply_is_refused_both_ways():
    deep = "x"
    for _ in range(40):
        deep = [deep]
    read = fresh("VaultService/GetVault")
    shallow = {"vault": VAULT | {"new": 1}}
    read.response(shallow)
    assert read.fast_response(msgspec.json.encode(shallow)) == read.response(shallow)
    assert read.fast_response(msgspec.json.encode({"vault": VAULT | {"new": deep}})) is None


@every_answer
def test_both_ways_agree_on_damage_at_any_member(descriptor):
    """The fast way leaves it to the plan, where it costs the member, and learns nothing of it."""
    base, plan = least(descriptor), CODECS.plan(descriptor)
    required = {*plan.required, *plan.required_one_of}
    damages = (rb'"\ud800"', b'"\xff"', b"1e400", b"NaN")
    for (key, member), damage in itertools.product(plan.readers.items(), damages):
        reader = reader_of(descriptor)
        rest = msgspec.json.encode({name: held for name, held in base.items() if name != key})
        body = b'{"%b":%b%b%b' % (key.encode(), damage, b"," * (rest != b"{}"), rest[1:])
        assert reader.read(body, lambda *_: None) is None
        value = tolerant_json.loads(body)
        found = by_plan(descriptor, value)
        if plan.whole_body or member.name not in required:
            assert found is not None
            message, _ = found
            assert not plan.keeps_extra or key in message.extra_fields
        reader.learn(base)
        before = fast(reader, descriptor, base)
        reader.learn(value)
        assert fast(reader, descriptor, base) == before
