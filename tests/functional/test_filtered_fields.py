"""Every field of the rows of every list that can be filtered: the filter and the order tell the
truth of what the rows show, or the field is refused by its name.
"""

from functools import partial
from pathlib import Path

import pytest
from google.protobuf import json_format

from emulator.transitions import Mode, Pace
from gateway.operations import load_catalog
from gateway.query.query import queried
from gateway.upstream.wire import GATEWAY_FIELDS, rows_field
from tests.functional import stage
from tests.functional.calls import caller
from tests.harness import running_gateway

MORE = {"ProtectabilityService/ListProtectables": {"protectable_type": "PROTECTABLE_TYPE_SERVER"}}
DEEP = 3
PAGE = Path(__file__).parents[2] / "docs" / "filters.md"


@pytest.fixture(scope="module")
async def world():
    async with running_gateway(pace=Pace(Mode.IMMEDIATE)) as running:
        call = caller(running)
        await stage.backup(call)
        await stage.vault(
            call, 1, name="another", description="of two words", tags=[{"key": "k", "value": "v"}]
        )
        await stage.vault(call, name="third")
        yield running


def leaves(message, above=()):
    """The paths of all fields, and of what they hold to a depth."""
    for fd in message.fields:
        steps = (*above, fd)
        yield steps
        inside = fd.message_type
        ours = inside is not None and inside.file.package == message.file.package
        if ours and len(steps) < DEEP:
            yield from leaves(inside, steps)


def values(row, steps):
    """What a row shows of a field."""
    fd, further = steps[0], steps[1:]
    if fd.is_repeated:
        found = list(getattr(row, fd.name))
    elif fd.has_presence and not row.HasField(fd.name):
        return []
    else:
        found = [getattr(row, fd.name)]
    return [value for each in found for value in values(each, further)] if further else found


def is_text(fd):
    return fd.type == fd.TYPE_STRING


def written(fd, value):
    """A value as a caller writes it in a filter."""
    if fd.message_type is not None:
        return json_format.MessageToDict(value)
    if fd.type == fd.TYPE_BOOL:
        return str(value).lower()
    if fd.enum_type is not None:
        return fd.enum_type.values_by_number[value].name
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"')) if is_text(fd) else value


def is_refused(steps):
    """Whether its name has to be refused: not by what the gateway tells, but by what it is."""
    package = steps[0].containing_type.file.package
    names = [fd.name for fd in steps]
    last = steps[-1].message_type
    free = last is not None and last.file.package != package and last.name != "Timestamp"
    return free or not GATEWAY_FIELDS.isdisjoint(names)


def path_of(steps):
    return ".".join(fd.name for fd in steps)


async def shown(call, rpc, rows, **request):
    page = await call.ok(rpc, {"page_size": 1000, **MORE.get(rpc, {}), **request})
    return list(getattr(page, rows))


def lists(catalog):
    for binding in catalog:
        if binding.rpc in queried(catalog):
            name = rows_field(binding.descriptor.output_type)
            yield binding.rpc, name, binding.descriptor.output_type.fields_by_name[name]


async def test_every_field_is_compared_as_the_rows_show_it_or_refused_by_name(world):
    call, seen = caller(world), set()
    for rpc, name, fd in lists(load_catalog()):
        asked = partial(shown, call, rpc, name)
        rows = await asked()
        assert rows, rpc
        for steps in leaves(fd.message_type):
            if is_refused(steps):
                await refused(call, rpc, path_of(steps), steps[-1].name)
                seen.add(steps[-1].name)
            else:
                await compared(asked, rows, steps)
    assert {"etag", "submission_id", "failure", "revision", "extra_fields", "detail"} <= seen
    page = PAGE.read_text()
    assert {name for name in seen if f"`{name}`" not in page} == set()


async def refused(call, rpc, path, name):
    for request in ({"filter": f"{path}:*"}, {"filter": f"NOT {path}:*"}, {"order_by": path}):
        failed = await call.fails(rpc, {**MORE.get(rpc, {}), **request})
        (field,) = request
        assert (failed.reason, failed.fields) == ("FIELD_INVALID", [field]), (rpc, path)
        assert f"`{name}`" in failed.message
        assert "position " in failed.message
        assert "there is no field" not in failed.message
        assert "Known: " in failed.message


async def compared(asked, rows, steps):
    fd, path = steps[-1], path_of(steps)
    told = [values(row, steps) for row in rows]
    there = [any(value not in ("", 0) for value in found) for found in told]
    assert ids(await asked(filter=f"{path}:*")) == chosen(rows, there), path
    if fd.message_type is not None and fd.message_type.name != "Timestamp":
        return
    some = next((value for found in told for value in found if value not in ("", 0, 1)), None)
    many = any(each.is_repeated for each in steps)
    if some is not None:
        text = f"{path} {':' if many else '='} {written(fd, some)}"
        wanted = [
            any(some in value if many and is_text(fd) else some == value for value in found)
            for found in told
        ]
        assert ids(await asked(filter=text)) == chosen(rows, wanted), text
    if not many:
        found = [values(row, steps) for row in await asked(order_by=path)]
        assert found == sorted(told, key=lambda each: [as_ordered(v) for v in each]), path


def ids(rows):
    return [row.id for row in rows]


def chosen(rows, wanted):
    return [row.id for row, is_wanted in zip(rows, wanted, strict=True) if is_wanted]


def as_ordered(value):
    return (value.seconds, value.nanos) if hasattr(value, "seconds") else value
