"""What counts for an etag, and what does not."""

from copy import deepcopy

import pytest
from cbrgateway.v1 import options_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.operations import load_catalog
from gateway.upstream.etags import FIELD, etags_of, objects
from tests.unit.upstream.messages import messages

SHOWN = {
    answer.fields_by_name[name].message_type
    for answer in (binding.descriptor.output_type for binding in load_catalog())
    for name, _ in objects(answer)
}


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


@pytest.mark.parametrize("shown", sorted(SHOWN, key=lambda d: d.name), ids=lambda d: d.name)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_an_etag_is_of_all_that_is_not_outside(shown, data):
    one, other = data.draw(messages(shown)), data.draw(messages(shown))
    bare = [without_the_outside(row) for row in (one, other)]
    assert etags_of([one, other]) == etags_of(bare)
    same = bare[0].SerializeToString(deterministic=True) == bare[1].SerializeToString(
        deterministic=True
    )
    first, second = etags_of([one, other])
    assert (first == second) == same
    for fd, _ in bare[0].ListFields():
        less = deepcopy(bare[0])
        less.ClearField(fd.name)
        assert etags_of([less]) != [first]
