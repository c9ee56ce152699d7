"""What of filters goes to CBR, as the page about them says."""

import re
from pathlib import Path

from gateway.operations import load_catalog
from gateway.query.pushed import _targets, sort_keys
from gateway.query.query import queried
from gateway.upstream import wire

PAGE = Path(__file__).parents[3] / "docs" / "filters.md"
CATALOG = load_catalog()
LISTS = [CATALOG[rpc] for rpc in queried(CATALOG)]


def told():
    """The table of the page: by list, the words of each of its cells."""
    rows = re.findall(r"^\| (List\w+) \|(.*)\|(.*)\|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    return {name: [re.findall(r"`([^`]+)`", cell) for cell in cells] for name, *cells in rows}


def declared(binding):
    request, row = binding.descriptor.input_type, binding.descriptor.output_type
    targets = _targets(request)
    sort = request.fields_by_name.get("sort")
    rows = row.fields_by_name[wire.rows_field(row)].message_type
    keys = sort_keys(sort) if sort is not None else ()
    return [
        sorted(text for text, target in targets.items() if target.exactly),
        sorted(text for text, target in targets.items() if not target.exactly),
        sorted(fd.name for fd in rows.fields if wire.json_key(fd) in keys),
    ]


def test_the_page_names_what_is_declared():
    assert {binding.descriptor.name: declared(binding) for binding in LISTS} == told()
    assert len(LISTS) == 4
