"""A gateway that audits into a directory of the test's, and its log as a test reads it."""

import contextlib
import json
from pathlib import Path

from jsonschema import Draft202012Validator

from gateway.audit.chain import Keys
from gateway.audit.reading import Query, rows
from gateway.audit.verify import verify
from tests.harness import running_gateway

SECRET = "a-secret-for-the-audit-log-of-a-test"
KEYS = Keys.of(SECRET)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text())
VALID = Draft202012Validator(SCHEMA)


def audit_section(folder: Path, **more):
    key = folder / "audit.key"
    key.write_text(SECRET)
    return {"directory": str(folder / "log"), "key": {"file": str(key)}, "writer": "one", "anchors": str(folder / "anchors"), **more}


@contextlib.asynccontextmanager
async def audited_gateway(folder: Path, audit=None, **more):
    sections = {"audit": audit_section(folder, **(audit or {})), **more.pop("sections", {})}
    async with running_gateway(sections=sections, **more) as world:
        yield world
    assert_valid(folder)


def records(folder: Path, **query):
    return list(rows(folder / "log", Query(**query)))


def events(folder: Path, **query):
    return [row["unmapped"]["event"] for row in records(folder, **query)]


def assert_valid(folder: Path):
    """Every record has the form that is published."""
    for row in records(folder, own=True):
        VALID.validate(row)


def assert_good(folder: Path, *, after_failed_writes=False):
    """Every record is as it was written, and every change has an outcome."""
    assert_valid(folder)
    for verdict in verify(folder / "log", KEYS):
        assert verdict.bad is None, str(verdict.bad)
        assert all(after_failed_writes and "count for nothing" in note for note in verdict.notes), verdict.notes
