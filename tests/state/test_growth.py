"""What the embedded store does for one change or one count does not grow with what it keeps
(point 14): counted in steps of SQLite's machine, with few and with many operations kept.
"""

import json
import sqlite3

import pytest

from gateway.state import Charge
from gateway.state import sqlite_counters as counters
from gateway.state import sqlite_ledger as ledger
from gateway.state import sqlite_views as views
from gateway.state.sqlite_schema import prepare
from gateway.state.transitions import Event
from tests.state.benches import operation

NOW, FEW, MANY = 1_000_000.0, 20, 3000


def kept(old, *, reserved=0):
    """A database with ten changes of the last minute, and older ones, and open reservations."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    prepare(db)
    for number in range(old + 10):
        op = operation(f"op-{number}", Charge("vaults", 1, None), ttl_s=1e6)
        when = NOW - 30 if number >= old else NOW - 3600
        ledger.begin(db, op, when)
        ledger.settle(db, op.id, Event.SENT, when)
        ledger.settle(db, op.id, Event.COMMIT, when)
    for number in range(reserved):
        ledger.begin(db, operation(f"open-{number}", ttl_s=1e6), NOW)
    return db


def steps(db, work):
    """Hundreds of steps that SQLite takes for it."""
    taken = 0

    def count():
        nonlocal taken
        taken += 1

    db.set_progress_handler(count, 100)
    work()
    db.set_progress_handler(None, 0)
    return taken


def listing(db):
    fence = counters.next_sequence(db)
    return counters.Listing({"vaults": 5}, fence, [], 60, {})


@pytest.mark.parametrize(
    "work",
    [
        lambda db: views.committed_since(db, NOW - 60),
        lambda db: counters.recount(db, listing(db), NOW),
        lambda db: ledger.begin(db, operation("new"), NOW),
    ],
    ids=["what was committed lately", "a recount", "a reservation"],
)
def test_what_is_kept_makes_nothing_dearer(work):
    with_few, with_many = kept(FEW, reserved=FEW), kept(MANY, reserved=MANY)
    few = steps(with_few, lambda: work(with_few))
    assert steps(with_many, lambda: work(with_many)) <= few * 1.2 + 5


def test_a_recount_finds_what_was_committed_lately_whatever_the_key():
    """Also a key that JSON writes in another way."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    prepare(db)
    keys = ['vaults:tenant:"é\\', "policies"]
    for number, key in enumerate(keys):
        op = operation(f"op-{number}", Charge(key, number + 1, None))
        ledger.begin(db, op, NOW)
        ledger.settle(db, op.id, Event.SENT, NOW)
        ledger.settle(db, op.id, Event.COMMIT, NOW)
    assert keys[0] not in json.dumps(keys)
    for some in ([keys[0]], [keys[1]], keys):
        fence = counters.next_sequence(db)
        counters.recount(db, counters.Listing(dict.fromkeys(some, 10), fence, [], 60, {}), NOW)
        used = counters.usage(db, some, NOW)
        assert [used[key].committed for key in some] == [11 + keys.index(key) for key in some]
