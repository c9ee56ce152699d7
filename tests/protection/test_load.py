"""Many reports at once: at most eight lists are read at the same moment from one endpoint, whoever
asks, and one endpoint that is slow, or a caller that goes away, takes nothing from the others.
"""

import asyncio

import grpc
import pytest

from tests.functional.calls import CATALOG, until
from tests.protection.fleet import ALL, REGIONS, running_fleet
from tests.protection.requests import lists, most_at_once

REPORTS = sorted(rpc for rpc in CATALOG.bindings if rpc.startswith("Protection"))
AT_ONCE = 8
SUMMARY = "ProtectionService/GetProtectionSummary"


@pytest.fixture
async def fleet():
    async with running_fleet() as fleet:
        yield fleet


def start(fleet, rpc, **request):
    binding = CATALOG[rpc]
    streams = binding.descriptor.server_streaming
    method = (fleet.channel.unary_stream if streams else fleet.channel.unary_unary)(
        f"/cbrgateway.v1.{rpc}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=binding.response_type.FromString,
    )
    return method(binding.request_type(**request), metadata=fleet.caller().metadata, timeout=120)


async def answers(call):
    if isinstance(call, grpc.aio.UnaryUnaryCall):
        return [await call]
    return [each async for each in call]


def slow(fleet, region, seconds):
    fleet.emulators[region].state.faults.add({"kind": "delay", "seconds": seconds, "times": None})


async def test_many_reports_together_read_eight_lists_at_once_from_each_endpoint(fleet):
    for region in REGIONS:
        slow(fleet, region, 0.01)
    calls = [start(fleet, rpc) for rpc in REPORTS for _ in range(2)]
    for told in await asyncio.gather(*map(answers, calls)):
        assert told
    for region in REGIONS:
        entries = lists(fleet.emulators[region], 0)
        assert len(entries) > 20 * AT_ONCE
        assert most_at_once(entries) == AT_ONCE


async def test_an_endpoint_that_is_slow_keeps_none_of_the_other_s_reports_waiting(fleet):
    slow(fleet, REGIONS[0], 60)
    near, far = ([p.id for p in ALL if p.region == region] for region in REGIONS)
    waiting = [start(fleet, SUMMARY, selection={"projects": near}) for _ in range(4)]
    (summary,) = await answers(start(fleet, SUMMARY, selection={"projects": far}))
    assert {each.project for each in summary.coverage} == set(far)
    assert not any(problem for each in summary.coverage for problem in each.problems)
    assert not any(call.done() for call in waiting)
    assert under_way(fleet, REGIONS[0]) == AT_ONCE
    for call in waiting:
        call.cancel()


def under_way(fleet, region):
    """Of requests that are not answered yet."""
    return sum(entry.replied_at is None for entry in lists(fleet.emulators[region], 0))


async def test_callers_that_go_away_leave_their_turns_to_others(fleet):
    slow(fleet, REGIONS[0], 60)
    left = [start(fleet, SUMMARY) for _ in range(6)]
    await until(lambda: under_way(fleet, REGIONS[0]) == AT_ONCE)
    for call in left:
        call.cancel()
    fleet.emulators[REGIONS[0]].state.faults.remove()
    (summary,) = await answers(start(fleet, SUMMARY))
    assert summary.total.resources == len(fleet.fates)
