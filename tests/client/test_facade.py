"""What callers import: all names of the API from one package; and lists by their descriptors."""

import cbrgateway.v1
import pytest
from cbrgateway_client.lists import first_page, rows_of
from google.protobuf.message_factory import GetMessageClass

from gateway.operations import load_catalog

RPCS = [binding.descriptor for binding in load_catalog()]
LISTS = [rpc for rpc in RPCS if "next_page_token" in rpc.output_type.fields_by_name]


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_stub_and_messages_of_an_rpc_are_in_one_package(rpc):
    assert hasattr(getattr(cbrgateway.v1, f"{rpc.containing_service.name}Stub"), "__init__")
    for message in (rpc.input_type, rpc.output_type):
        assert getattr(cbrgateway.v1, message.name).DESCRIPTOR is message


def test_every_name_that_the_package_tells_of_is_there():
    assert len(cbrgateway.v1.__all__) > len(RPCS)
    assert {name for name in cbrgateway.v1.__all__ if not hasattr(cbrgateway.v1, name)} == set()
    assert "TASK_STATUS_SUCCEEDED" in dir(cbrgateway.v1)
    with pytest.raises(ImportError, match="Nothing"):
        from cbrgateway.v1 import Nothing  # noqa: F401, PLC0415 - there is no such name


def test_all_lists_can_be_paged():
    paged = {rpc.name for rpc in RPCS if "page_token" in rpc.input_type.fields_by_name}
    assert paged == {rpc.name for rpc in LISTS}
    assert len(LISTS) > 20


@pytest.mark.parametrize("rpc", LISTS, ids=lambda rpc: rpc.name)
def test_the_rows_of_a_list_are_its_first_repeated_field(rpc):
    asked = first_page(GetMessageClass(rpc.input_type)(page_token="a"))
    assert asked.page_token == "a"
    page = GetMessageClass(rpc.output_type)()
    first = min(
        (field for field in rpc.output_type.fields if field.is_repeated and field.message_type),
        key=lambda field: field.number,
    )
    getattr(page, first.name).add()
    assert len(rows_of(page)) == 1
