"""What counts for an etag, and what does not."""

from copy import deepcopy

import pytest
from cbrgateway.v1 import options_pb2, types_pb2, vault_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.operations import load_catalog
from gateway.upstream.etags import FIELD, etags_of, objects
from tests.unit.upstream.messages import messages

LISTS = {
    binding.descriptor.output_type.fields_by_name[name].message_type: (binding.response_type, name)
    for binding in load_catalog()
    for name, many in objects(binding.descriptor.output_type)
    if many
}
"""Objects with an etag, and the lists that show them."""


def etags(*rows):
    answer, name = LISTS[rows[0].DESCRIPTOR]
    return [etag for _, etag in etags_of(answer(**{name: rows}))]


def outside(fd):
    return fd.name == FIELD or fd.GetOptions().Extensions[options_pb2.outside_etag]


def without_the_outside(row):
    """The oracle: what is outside cleared, field by field, in the object and one level below."""
    bare = deepcopy(row)
    for fd, value in bare.ListFields():
        if outside(fd):
            bare.ClearField(fd.name)
        elif fd.message_type is not None and not fd.message_type.GetOptions().map_entry:
            for each in value if fd.is_repeated else (value,):
                for inner in each.DESCRIPTOR.fields:
                    if inner.GetOptions().Extensions[options_pb2.outside_etag]:
                        each.ClearField(inner.name)
    return bare


@pytest.mark.parametrize("shown", sorted(LISTS, key=lambda d: d.name), ids=lambda d: d.name)
@given(data=st.data())
@settings(max_examples=10)
def test_an_etag_is_of_all_that_is_not_outside(shown, data):
    one, other = data.draw(messages(shown)), data.draw(messages(shown))
    bare = [without_the_outside(row) for row in (one, other)]
    assert etags(one, other) == etags(*bare)
    same = bare[0].SerializeToString(deterministic=True) == bare[1].SerializeToString(
        deterministic=True
    )
    first, second = etags(one, other)
    assert (first == second) == same
    for fd, _ in bare[0].ListFields():
        less = deepcopy(bare[0])
        less.ClearField(fd.name)
        assert etags(less) != [first]


def test_a_read_of_one_object_tells_what_a_list_does_and_other_versions_did():
    vault = types_pb2.Vault(
        id="v",
        name="orders",
        threshold_percent=80,
        version="7",
        resources=[{"id": "r", "name": "n"}],
        tags=[{"key": "team", "value": "a"}],
    )
    ((row, etag),) = etags_of(vault_pb2.GetVaultResponse(vault=vault))
    assert (row, [etag]) == (vault, etags(vault))
    assert etag == 'W/"e358a7a9853f43a7"'
    assert not list(etags_of(vault_pb2.GetVaultResponse()))
