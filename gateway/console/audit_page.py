"""Search in the audit log, and whether its chain is whole."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.audit.query import OUTCOMES, Query, Row, last_rows, losses_told, outcome
from gateway.audit.segments import SegmentFile, segments
from gateway.audit.verify import Verdict, verify
from gateway.console.facts import AuditFacts
from gateway.console.page import BAD, GOOD, ROWS, WARN, Asked, Cell, Field, Link, Page, Table, when
from gateway.state import StoreDown

_SEARCH_S: Final = 5.0
"""How long one search may take: it holds no other call up, and yet takes time from them."""
_PROVED_BYTES: Final = 64 << 20
"""Larger logs are verified by `cbr-gateway audit verify`, beside the gateway."""
_FIELDS: Final = (
    ("tenant", "Tenant", ""),
    ("principal", "Principal", "NAME or TENANT/NAME"),
    ("operation", "RPC", "a part of its name"),
    ("resource", "Id of a resource", ""),
    ("uid", "Id of a call", ""),
    ("outcome", "Outcome", ", ".join(OUTCOMES)),
    ("since", "Since", "2026-01-31 or 2026-01-31T12:00:00Z"),
    ("until", "Until", ""),
)
_KINDS: Final = {"succeeded": GOOD, "failed": BAD, "timed_out": BAD, "unknown": WARN}


def audit(facts: AuditFacts, asked: Asked) -> Page:
    """The newest records that fit."""
    if facts.directory is None:
        told = "There is no audit log in files: set `audit.directory`."
        return Page("Audit log", [], notices=[Cell(told, WARN)])
    fields = [Field(name, label, asked[name], hint) for name, label, hint in _FIELDS]
    chain = _chain(facts, facts.directory, asked)
    try:
        query = _query(asked)
    except ValueError as wrong:
        return Page("Audit log", [chain], fields, notices=[Cell(str(wrong), BAD)])
    until, unread = time.monotonic() + _SEARCH_S, list[str]()
    found = last_rows(
        facts.directory,
        ROWS,
        lambda segment, _error: unread.append(segment.path.name),
        query,
        lambda: time.monotonic() > until,
    )
    notices = list(_notices(unread, late=time.monotonic() > until))
    head = ("time", "event", "outcome", "tenant", "principal", "RPC", "resources", "detail", "call")
    rows = [_record(row) for row in reversed(found)]
    note = f"the newest {ROWS} at most"
    table = Table("Records, the newest first", head, rows, "no record that fits", note)
    return Page("Audit log", [chain, table], fields, notices=notices)


def _notices(unread: Sequence[str], *, late: bool) -> Iterator[Cell]:
    if late:
        text = "The search took too long and ended before the oldest records: name a time, or use"
        yield Cell(f"{text} `cbr-gateway audit query`.", WARN)
    if unread:
        yield Cell(f"Not readable: {', '.join(unread[:5])}", BAD)


def _query(asked: Asked) -> Query:
    """Raises ValueError."""
    outcomes = tuple(asked["outcome"].replace(",", " ").split())
    if wrong := [each for each in outcomes if each not in OUTCOMES]:
        raise ValueError(f"Outcome: {wrong[0]!r} is none of {', '.join(OUTCOMES)}.")
    return Query(
        tenant=asked["tenant"],
        principal=asked["principal"],
        operation=asked["operation"],
        outcomes=outcomes,
        resource=asked["resource"],
        uid=asked["uid"],
        since=_moment(asked["since"], "Since"),
        until=_moment(asked["until"], "Until"),
    )


def _moment(text: str, label: str) -> int:
    """Milliseconds since 1970. Raises ValueError."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{label}: {text!r} is no time; write 2026-01-31T12:00:00Z.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _record(row: Row) -> Sequence[Cell]:
    marks, api, ended = row["metadata"], row["api"], outcome(row)
    told = (api.get("response", {}).get("error", ""), row.get("status_detail", ""))
    detail = (*told, *losses_told(row))
    return [
        Cell(when(row["time"] / 1000)),
        Cell(row["unmapped"]["event"].lower().replace("_", " ")),
        Cell(ended, _KINDS.get(ended, "")),
        Cell(marks.get("tenant_uid", "")),
        Cell(row["actor"].get("user", {}).get("name", "")),
        Cell(api["operation"]),
        Cell(" ".join(f"{each['type']}={each['uid']}" for each in row.get("resources", ()))),
        Cell(" ".join(filter(None, detail))),
        Cell(marks.get("correlation_uid", "")),
    ]


# The chain
# --------------------------------------------------------------------------------------------------


def _chain(facts: AuditFacts, directory: Path, asked: Asked) -> Table:
    found = segments(directory)
    size = sum(each.path.stat().st_size for files in found.values() for each in files)
    proof = asked["verify"] == "1"
    rows = [_unproved(writer, files) for writer, files in found.items()]
    if not proof:
        note = "not verified here: that reads all of it"
    elif size > _PROVED_BYTES:
        note = "not verified here: the log is large; use `cbr-gateway audit verify`"
    elif (keys := facts.keys()) is not None:
        try:
            anchors = facts.anchors()
        except (StoreDown, TimeoutError):
            note = "not verified: the store, which holds the anchors, does not answer"
        else:
            rows = [_proved(each) for each in verify(directory, keys, anchors)]
            note = f"held against the key and {len(anchors)} anchors"
    else:
        note = "not verified: there is no `audit.key`"
    if trouble := facts.trouble():
        note += f"; this process cannot write: {trouble}"
    link = None if proof else Link("Verify the chain", asked.with_(verify="1"))
    head = ("writer", "chain", "records", "")
    return Table("The logs of the directory", head, rows, "no log", note, link)


def _proved(verdict: Verdict) -> Sequence[Cell]:
    state = Cell(f"BAD: {verdict.bad}", BAD) if verdict.bad else Cell("whole", GOOD)
    return [Cell(verdict.writer), state, Cell(str(verdict.records)), Cell("; ".join(verdict.notes))]


def _unproved(writer: str, files: Sequence[SegmentFile]) -> Sequence[Cell]:
    return [Cell(writer), Cell("not verified"), Cell(""), Cell(f"{len(files)} segments")]
