"""What the table makes of polls that contradict each other, and the numbers of states."""

import itertools

from cbrgateway.v1 import task_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.watch.row import Row, revision_of
from gateway.watch.table import NEVER, Listing, Table

WAITING, RUNNING = task_pb2.TASK_STATUS_WAITING, task_pb2.TASK_STATUS_RUNNING
SUCCEEDED, FAILED, OTHER = (
    task_pb2.TASK_STATUS_SUCCEEDED,
    task_pb2.TASK_STATUS_FAILED,
    task_pb2.TASK_STATUS_OTHER,
)


def task(name="t", status=RUNNING, *, created=1000, updated=1000, progress=0, ended=0):
    made = task_pb2.Task(
        id=name,
        status=status,
        create_time=Timestamp(seconds=created),
        update_time=Timestamp(seconds=updated),
    )
    made.details.common.progress_percent = progress
    if ended:
        made.end_time.FromSeconds(ended)
    return made


def row(name="t", **more):
    return Row(task(name, **more), Timestamp())


def apply(table, *rows, absent=(), since=0, cut=False):
    return table.apply(rows, Listing([each.task for each in rows], absent, since, cut))


def told(news):
    return [change.row.id for change in news.changes]


def test_revisions_grow_on_the_way_of_a_task():
    way = [
        task(status=WAITING),
        task(progress=0),
        task(progress=50),
        task(progress=99),
        task(updated=1001, progress=0),
        task(status=OTHER, updated=1002),
        task(status=SUCCEEDED, updated=1003, ended=1003, progress=100),
    ]
    assert all(
        revision_of(earlier) < revision_of(later) for earlier, later in itertools.pairwise(way)
    )
    assert all(0 < revision_of(each) < 2**63 for each in way)


def test_an_end_has_one_number_whatever_is_touched_later():
    ended = task(status=FAILED, updated=1003, ended=1003)
    assert revision_of(ended) == revision_of(
        task(status=FAILED, updated=5000, ended=1003, progress=7)
    )
    assert revision_of(task(status=OTHER, ended=1003)) == revision_of(ended)


def test_an_older_state_changes_nothing():
    table = Table(100, 0)
    apply(table, row(updated=1005), row("u", status=SUCCEEDED, ended=1004))
    news = apply(table, row(updated=1004, progress=80), row(updated=1005), row("u", updated=2000))
    assert told(news) == []
    assert set(table.open) == {"t"}
    assert told(apply(table, row(updated=1005, progress=1))) == ["t"]


def test_history_is_no_news():
    table = Table(100, 0)
    assert told(apply(table, row("a", status=SUCCEEDED, ended=1000), since=900_000_000)) == []
    news = apply(
        table,
        row("old", status=SUCCEEDED, created=800, ended=801),
        row("new", status=SUCCEEDED, ended=1001),
        since=700_000_000,
    )
    assert told(news) == ["new"]
    assert told(apply(table, row("older open", created=10))) == ["older open"]


def test_the_table_covers_what_was_listed_without_a_break():
    table = Table(100, 0)
    assert not table.covers(NEVER - 1, ())
    apply(table, since=500)
    assert table.covers(500, ())
    assert not table.covers(499, ())
    assert not table.covers(500, ["t"])
    apply(table, since=900)
    assert table.covers(500, ())


def test_two_absences_make_a_task_gone_and_one_does_not():
    table = Table(100, 0)
    apply(table, row())
    assert apply(table, absent=["t"]).gone == ()
    apply(table, row(progress=1))
    assert apply(table, absent=["t", "x"]).gone == ()
    news = apply(table, absent=["t", "x"])
    assert ([each.id for each in news.gone], news.unknown) == (["t"], {"x"})
    assert table.covers(0, ["t", "x"])
    assert told(apply(table, row())) == ["t"]
    assert "t" not in table.unknown


def test_only_so_many_ended_tasks_are_kept_and_what_was_dropped_is_not_covered():
    table = Table(3, 0)
    ended = [
        row(f"t{second}", status=SUCCEEDED, created=second, ended=second) for second in range(1, 6)
    ]
    apply(table, row("open", created=1), *ended)
    assert set(table.rows) == {"open", "t3", "t4", "t5"}
    assert table.floor_us == 2_000_001
    assert table.covers(2_000_001, ())
    assert not table.covers(2_000_000, ())
    # Listed again, they are history.
    assert told(apply(table, *ended[:2])) == []


def test_what_was_too_much_to_list_is_never_covered():
    table = Table(100, 0)
    apply(table, since=900)
    apply(table, since=800, cut=True)
    assert (table.low_watermark_us, table.floor_us) == (800, 800)


def test_an_old_task_that_somebody_asked_for_is_kept_beside_the_new_ones():
    table = Table(3, 0)
    apply(
        table,
        *(
            row(f"t{second}", status=SUCCEEDED, created=second, ended=second)
            for second in range(11, 16)
        ),
    )
    for second in range(1, 6):
        apply(
            table,
            row(f"old{second}", status=SUCCEEDED, created=second, ended=second),
            since=20_000_000,
        )
        assert table.covers(13_000_000, [f"old{second}"])
    assert set(table.rows) == {"t13", "t14", "t15", "old3", "old4", "old5"}
