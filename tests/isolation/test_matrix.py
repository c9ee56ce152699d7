"""Every RPC, every field that holds ids, and ids of one's own, of others, of deleted objects and of
nothing.

What is foreign cannot be told from what does not exist: code, message, reason, details and trailers
are the same. And a foreign id changes nothing. The cases come from the descriptors: a new field is
in them by itself.
"""

import re

import pytest
from cbrgateway.v1 import options_pb2 as options
from google.protobuf import json_format

from emulator import settings as emulated
from tests.functional.calls import BINDINGS, Failure, arrived, forget, order
from tests.isolation.requests import request_with
from tests.isolation.tenants import TWIN_PART, nobodys

NAMED_BY_CALLERS = {"AgentService/RegisterAgent"}
"""An id of nothing is what these want: they give it to what they make."""
WITH_IDS = [
    rpc for rpc, binding in BINDINGS.items() if binding.id_fields and rpc not in NAMED_BY_CALLERS
]
REFUSED = {"ADMINISTRATOR_ONLY", "PROJECT_SHARED"}
NOBODYS = ("nothing", "nothing else")
DEFINITE = {
    "status": 400,
    "body": {"error_code": "BackupService.6101", "error_msg": "refused by the test"},
}
"""What the emulator answers to a change with ids of one's own, so that nothing is used up."""
OWN_ENTRIES = {"x-request-id", "grpc-status-details-bin", "ratelimit-remaining", "ratelimit-reset"}


def seen(answer, value):
    """Everything that a caller learns, without the id that it sent and what differs from call to
    call.
    """

    def bare(text):
        return re.sub(r"[0-9a-f]{32}", "#", text.replace(value, "<id>"))

    if not isinstance(answer, Failure):
        return "OK", bare(json_format.MessageToJson(answer))
    details = {
        name: bare(json_format.MessageToJson(detail))
        for name, detail in answer.details.items()
        if name != "RequestInfo"
    }
    info = {
        key: bare(text)
        for key, text in answer.facts.items()
        if key not in {"requestId", "upstreamRequestId"}
    }
    details["ErrorInfo"] = f"{answer.reason} {sorted(info.items())}"
    trailers = {key: text for key, text in answer.trailers.items() if key not in OWN_ENTRIES}
    return (
        answer.code,
        bare(answer.message),
        details,
        sorted(trailers.items()),
        sorted(answer.trailers),
    )


def strangers(stocks, tenant, refers):
    """Ids that are not the tenant's: of the tenants beside it, of what it has deleted, and of
    nothing. Each with where it comes from.
    """
    found = {whose: nobodys() for whose in NOBODYS}
    if refers == options.REFERS_PROJECT:
        others = (
            [emulated.STANDBY_PROJECT_ID]
            if tenant == "far"
            else [emulated.DATABASES_PROJECT_ID, emulated.RESEARCH_PROJECT_ID]
        )
        return found | {f"another project {index}": project for index, project in enumerate(others)}
    if refers == options.REFERS_ENTERPRISE_PROJECT:
        return found | ({"the twin's": TWIN_PART} if tenant == "near" else {})
    found |= {
        other: stocks[other].ids[refers]
        for other in stocks
        if other != tenant and refers in stocks[other].ids
    }
    return found | (
        {"deleted": stocks[tenant].gone[refers]} if refers in stocks[tenant].gone else {}
    )


@pytest.mark.parametrize("rpc", WITH_IDS)
@pytest.mark.parametrize("tenant", ["near", "far"])
async def test_foreign_and_missing_are_one_to_a_caller(world, stocks, tenant, rpc):
    forget(world.app)
    binding, own = BINDINGS[rpc], stocks[tenant]
    for field in binding.id_fields:
        since = world.emulator.state.truth._seq
        answers = {}
        for whose, value in strangers(stocks, tenant, field.refers).items():
            answers[whose] = seen(
                await own.call(rpc, request_with(rpc, own.ids, field, value)), value
            )
            changes = [
                entry
                for entry in world.emulator.state.truth.entries(since)
                if entry.method != "GET" and value in entry.target + entry.body
            ]
            assert whose in NOBODYS or not [entry for entry in changes if entry.committed], (
                field.names,
                whose,
            )
            assert tenant == "far" or binding.reads or not changes, (field.names, whose, changes)
        assert len({repr(answer) for answer in answers.values()}) == 1, (field.names, answers)


@pytest.mark.parametrize("rpc", [rpc for rpc in WITH_IDS if not BINDINGS[rpc].reads])
async def test_what_a_change_would_do_is_not_told_of_foreign_ids(world, stocks, rpc):
    forget(world.app)
    own = stocks["near"]
    for field in BINDINGS[rpc].id_fields:
        answers = {}
        for whose, value in strangers(stocks, "near", field.refers).items():
            request = request_with(rpc, own.ids, field, value)
            request.validate_only = True
            answers[whose] = seen(await own.call(rpc, request), value)
        assert len({repr(answer) for answer in answers.values()}) == 1, (field.names, answers)
        assert not any(answer[0] == "OK" for answer in answers.values()), (field.names, answers)


@pytest.mark.parametrize("rpc", WITH_IDS)
@pytest.mark.parametrize("tenant", ["near", "far"])
async def test_what_is_ones_own_gets_through(world, stocks, tenant, rpc):
    """Without this the test above would pass for a gateway that refuses everything."""
    forget(world.app)
    world.emulator.state.faults.remove()
    own = stocks[tenant]
    if not BINDINGS[rpc].reads:
        order(world, "status", rpc, when="before_commit", times=None, **DEFINITE)
    for field in (None, *(each for each in BINDINGS[rpc].id_fields if each.refers in own.ids)):
        before = len(arrived(world, rpc))
        answer = await own.call(
            rpc, request_with(rpc, own.ids, field, own.ids[field.refers] if field else "")
        )
        if isinstance(answer, Failure) and answer.reason in REFUSED:
            break
        assert len(arrived(world, rpc)) > before, (field, answer)
    world.emulator.state.faults.remove()
