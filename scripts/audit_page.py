"""Generates docs/audit-events.md, the catalogue of what is audited, and docs/audit.schema.json from
the code that makes the records.
"""

import argparse
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.audit import events
from gateway.audit.call_record import Activity, Caller, Level, kind_of
from gateway.audit.call_record import Declared as Rpc
from gateway.audit.chain import Head, Keys, seal
from gateway.audit.events import CATALOGUE, Event, own_record
from gateway.audit.record import (
    Anchor,
    Displaced,
    OpenIntent,
    Previous,
    Resource,
    Segment,
    Stream,
    Task,
    schema,
)
from gateway.audit.task_record import TaskActivity
from gateway.errors import UpstreamFacts

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "audit-events.md"
SCHEMA: Final = ROOT / "docs" / "audit.schema.json"

_INTRODUCTION: Final = """\
# Audit events

<!-- Made by scripts/audit_page.py from gateway/audit/events.py: edit that, then run `make generate`. -->

Every kind of record of the [audit log](audit.md), with an example. The code stands in `metadata.event_code`, the name in `unmapped.event`, the
stage in `unmapped.stage`. Codes are stable: programs may branch on them. A record is one line; the examples are broken for the eye.
Their form: [audit.schema.json](audit.schema.json).

"""
_TIME: Final = 1_795_425_330.25
_UID: Final = "5f0c3a6be1d24c5592b4d1a10f3b7e21"
_MAC: Final = "9d5b1c0e7a3f4862b1d0c9e8f7a6b5c4d3e2f1a09b8c7d6e5f4a3b2c1d0e9f88"
_KEYS: Final = Keys.of("the-key-of-the-examples-on-this-page")


def _rpc(rpc: str, permission: str, call: tuple[str, str, str], level: Level) -> Rpc:
    reads = level is Level.METADATA
    return Rpc(rpc, kind_of(rpc.partition("/")[2], reads=reads), reads, *call, permission, level)


_ONE: Final = "/v3/{project_id}/vaults/{vault_id}"
_READ: Final = _rpc(
    "VaultService/GetVault", "cbr:vaults:get", ("GET", _ONE, "ShowVault"), Level.METADATA
)
_CHANGE: Final = _rpc(
    "VaultService/DeleteVault", "cbr:vaults:delete", ("DELETE", _ONE, "DeleteVault"), Level.REQUEST
)
_WATCH: Final = _rpc("TaskService/WatchTasks", "cbr:tasks:list", ("", "", ""), Level.METADATA)
_VAULT: Final = (("vault", "0daac4c5-6707-4851-97ba-169e36266b66"),)
_CALLER: Final = Caller(
    ip="192.0.2.7",
    port=51824,
    tenant="payments",
    principal="nightly-job",
    authentication="jwt",
    credential="hmac:3c1f0b7d5a9e4d2688f0e1c2b3a49586",
    project="0605767b5780d5762fc5c0118072a564",
    region="cn-north-4",
    decision="Allowed",
)
_STRANGER: Final = Caller(
    ip="198.51.100.9",
    port=40112,
    credential="hmac:b0a1d2c3e4f5061728394a5b6c7d8e9f",
    decision="Denied",
)
_ANSWERED: Final = UpstreamFacts(1, "yes", 200, "", "b74990d40953e7d8adf608106894a19c", 0.031)
_DELETED: Final = UpstreamFacts(1, "yes", 204, "", "d05ce9bd804bbab398354d657fef4c10", 0.048)


def _call(rpc: Rpc, caller: Caller = _CALLER, **more: Any) -> Activity:  # noqa: ANN401 - members of Activity
    return Activity(_UID, rpc, caller, _TIME, rpc.level, **more)


_ABOUT: Final[Mapping[str, Any]] = {
    "subject": _UID,
    "tenant": "payments",
    "operation": "VaultService/DeleteVault",
}


def _examples() -> Mapping[Event, bytes]:
    """The body of one record of each kind."""
    found = {event: call.body(event) for event, call in _calls().items()}
    found |= {events.TASK_ENDED: _ended_task().body(), **_open_ends(), **_about_the_log()}
    return {event: found[event] for event in CATALOGUE}


def _calls() -> Mapping[Event, Activity]:
    """Of calls and streams."""
    request = {"vault_id": _VAULT[0][1]}
    change = partial(_call, _CHANGE, resources=_VAULT, request_id="order-4711", quota="allowed")
    watch = partial(_call, _WATCH, quota="allowed")
    return {
        events.READ_ENDED: _call(
            _READ, resources=_VAULT, quota="allowed", code=0, duration_ms=36, upstream=_ANSWERED
        ),
        events.CALL_REFUSED: _call(
            _READ, _STRANGER, code=16, reason="CREDENTIALS_INVALID", duration_ms=1
        ),
        events.CHANGE_INTENDED: change(request=request),
        events.CHANGE_ENDED: change(
            code=0, duration_ms=54, upstream=_DELETED, change_result="DONE"
        ),
        events.CHANGE_VALIDATED: change(
            request=request | {"validate_only": True}, code=0, duration_ms=61, validate_only=True
        ),
        events.STREAM_STARTED: watch(stream=Stream(messages=0)),
        events.STREAM_PROGRESSED: watch(stream=Stream(messages=120)),
        events.STREAM_ENDED: watch(code=0, duration_ms=3_000_000, stream=Stream(messages=260)),
    }


def _ended_task() -> TaskActivity:
    task = Task(
        uid="4827f2da-b008-4507-ab7d-42d0df5ed912",
        type="BACKUP",
        status="FAILED",
        outcome="failed",
        code="BackupService.6125",
        policy="nightly",
    )
    return TaskActivity(
        task,
        project="0605767b5780d5762fc5c0118072a564",
        tenant="payments",
        reason="STATE_INVALID",
        text="The task failed in CBR: the resource is not in a state for it.",
        resources=(*_VAULT, ("server", "7d6f5b1e-2f1f-4f0e-9c5a-3f5c1f0a8b6d")),
        began=_TIME - 3,
        ended=_TIME,
    )


def _open_ends() -> Mapping[Event, bytes]:
    """What is told of calls later, or by the gateway itself."""
    return {
        events.CHANGE_SETTLED: own_record(
            events.CHANGE_SETTLED,
            **_ABOUT,
            principal=_CALLER.principal,
            project=_CALLER.project,
            resources=(Resource(type="vault", uid=_VAULT[0][1]),),
            change_result="DONE",
        ),
        events.CHANGE_UNRESOLVED: own_record(
            events.CHANGE_UNRESOLVED, **_ABOUT, change_result="UNKNOWN"
        ),
        events.STREAM_UNRESOLVED: own_record(
            events.STREAM_UNRESOLVED,
            subject=_UID,
            tenant="payments",
            operation="TaskService/WatchTasks",
            change_result="UNKNOWN",
        ),
        events.MARK_REMOVED: own_record(
            events.MARK_REMOVED,
            **{**_ABOUT, "operation": "VaultService/DeleteVaultTag"},
            resources=(Resource(type="vault", uid=_VAULT[0][1]),),
        ),
    }


def _about_the_log() -> Mapping[Event, bytes]:
    place = Previous(segment=11, sequence=4092, mac=_MAC)
    anchor = Anchor(
        writer="gateway-0",
        segment=12,
        sequence=4711,
        mac=_MAC,
        time=round(_TIME * 1000),
        signature=_MAC[::-1],
    )
    header = Segment(
        writer="gateway-0",
        number=12,
        previous=place,
        open=(OpenIntent(uid=_UID, operation="VaultService/DeleteVault", tenant="payments"),),
    )
    return {
        events.LOG_OPENED: own_record(events.LOG_OPENED, segment=header),
        events.LOG_CLOSED: own_record(events.LOG_CLOSED),
        events.LOG_RECOVERED: own_record(events.LOG_RECOVERED, lost=3),
        events.LOG_REPAIRED: own_record(
            events.LOG_REPAIRED, torn_bytes=211, torn_file="gateway-0.00000011.jsonl.torn-90112"
        ),
        events.SEGMENTS_REMOVED: own_record(events.SEGMENTS_REMOVED, removed=place),
        events.CLOCK_STEPPED_BACK: own_record(events.CLOCK_STEPPED_BACK, back_ms=3_600_000),
        events.SEGMENT_DISPLACED: own_record(
            events.SEGMENT_DISPLACED,
            displaced=Displaced(segment=11, sequence=4092, cause="was removed"),
        ),
        events.CHECKPOINT: own_record(events.CHECKPOINT, anchor=anchor),
    }


def lines() -> list[tuple[Event, bytes]]:
    """The line of each example. Ids and times of its making are the same in every run."""
    found, head = [], Head(4711)
    for event, body in _examples().items():
        fixed = re.sub(
            rb'"uid":"[0-9a-f]{32}","event_code"',
            b'"uid":"%s","event_code"' % uuid.uuid5(uuid.NAMESPACE_OID, event.code).hex.encode(),
            body,
        )
        fixed = re.sub(
            rb'"time":[0-9]{13},"message"', b'"time":%d,"message"' % round(_TIME * 1000), fixed
        )
        line, head = seal(_KEYS.chain, head, fixed)
        found.append((event, line))
    return found


def page() -> str:
    """The whole page."""
    rows = "".join(
        f"| [`{event.code}`](#{event.code.lower()}) | {event.name} | {event.stage} |"
        f" {event.text} |\n"
        for event in CATALOGUE
    )
    return "".join(
        (_INTRODUCTION, "| code | name | stage | when |\n|---|---|---|---|\n", rows, *_sections())
    )


def _sections() -> Iterator[str]:
    for event, line in lines():
        members = json.loads(line)
        shown = ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in members.items()
        )
        yield f"\n## {event.code}\n\n{event.name}. {event.text}\n\n```json\n{{\n{shown}\n}}\n```\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if a committed file is out of date"
    )
    check = parser.parse_args().check
    for path, text in ((PAGE, page()), (SCHEMA, json.dumps(schema(), indent=2) + "\n")):
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is out of date, run `make generate`")


if __name__ == "__main__":
    main()
