"""The declared calls against tests/census, which is typed from the vendor's manual and knows
nothing of the protos.
"""

import re
import tomllib
from collections import Counter
from pathlib import Path

from huaweicloudsdkcbr.v1 import CbrClient

from gateway.operations import load_catalog

CENSUS = Path(__file__).parents[1] / "census"
OPERATIONS = {name for name in vars(CbrClient) if f"{name}_invoker" in vars(CbrClient)}
"""Those of the vendor's SDK, by the names of its methods."""


def census():
    """(RPC, operation, verb, path) of every row of every file."""
    rows = []
    for file in sorted(CENSUS.glob("*.toml")):
        rows += [
            (rpc, *row[:3]) for rpc, row in tomllib.loads(file.read_text(encoding="utf-8")).items()
        ]
    return rows


def test_the_census_names_every_operation_and_call_once():
    rows = census()
    for column in ({row[0] for row in rows}, {row[1] for row in rows}, {row[2:] for row in rows}):
        assert len(column) == len(rows)
    names = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", row[1]).lower() for row in rows}
    assert len(OPERATIONS) > 70
    assert names >= OPERATIONS


def test_the_protos_declare_exactly_the_calls_of_the_census():
    declared = Counter(
        (b.rpc, b.operation, b.method, b.path) for b in load_catalog() if b.operation
    )
    counted = Counter(census())
    assert declared - counted == Counter(), "declared, and not in the manual"
    assert counted - declared == Counter(), "in the manual, and not declared"
