"""A gateway that audits into a directory of the test's, and its log as a test reads it."""

import contextlib
import json
from pathlib import Path

from jsonschema import Draft202012Validator

from gateway.audit.chain import Keys
from gateway.audit.query import Query, rows
from gateway.audit.verify import verify
from tests.harness import running_gateway

SECRET = "a-secret-for-the-audit-log-of-a-test"
KEYS = Keys.of(SECRET)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "audit.schema.json").read_text())
VALID = Draft202012Validator(SCHEMA)


def audit_section(folder: Path, **more):
    key = folder / "audit.key"
    key.write_text(SECRET)
    return {
        "directory": str(folder / "log"),
        "key": {"file": str(key)},
        "writer": "one",
        "anchors": str(folder / "anchors"),
        **more,
    }


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
        assert all(after_failed_writes and "count for nothing" in note for note in verdict.notes), (
            verdict.notes
        )


def assert_recorded_before(folder: Path, cloud, project=None):
    """Every vault that CBR was asked to make or delete, of one project or all, has an intent that
    is older. Returns how many there were.
    """
    intents: dict[str, list[int]] = {}
    for row in records(folder):
        if row["unmapped"]["event"] == "CHANGE_INTENDED":
            data = row["api"]["request"]["data"]
            name = data["vault"].get("name") if "vault" in data else None
            intents.setdefault(name or data.get("vault_id", ""), []).append(row["time"])
    reached = [
        entry
        for entry in cloud.state.truth.entries()
        if entry.operation in {"CreateVault", "DeleteVault"} and project in {None, entry.project_id}
    ]
    for entry in reached:
        key = (
            json.loads(entry.body)["vault"]["name"]
            if entry.method == "POST"
            else entry.target.rpartition("/")[2]
        )
        assert min(intents[key]) <= entry.arrived_at * 1000 + 1, entry
    return len(reached)


def unended(folder: Path):
    """Changes at CBR of which the last word is not what became of them, with that word."""
    fates: dict[str, str] = {}
    for row in records(folder):
        if row["api"]["operation"].startswith("QuotaService/"):
            # Of the gateway's own limits only their value is kept, and not by whom: a crash leaves
            # these unresolved for good.
            continue
        if (
            row["unmapped"]["stage"] in {"INTENT", "OUTCOME", "RECONCILED"}
            and row["activity_name"] != "Read"
        ):
            uid, fate = row["metadata"]["correlation_uid"], row["unmapped"].get("fate")
            fates[uid] = (
                fate or fates.get(uid) or ("OPEN" if row["unmapped"]["stage"] == "INTENT" else "")
            )
    return {uid: fate for uid, fate in fates.items() if fate not in {"DONE", "NOTHING", ""}}
