"""Old segments are removed once they are old, and never since one clock says so."""

import time
from functools import partial

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import events
from gateway.audit.age import passed
from gateway.audit.files import Entry
from gateway.audit.keeping import Keeping
from gateway.audit.opening import open_audit
from gateway.audit.own import own_record
from gateway.audit.segments import segments
from gateway.audit.verify import verify
from tests.audit.logs import KEYS, WRITER, entry, sink
from tests.audit.test_opening import read, settings
from tests.functional.calls import until

DAY_S = 86_400.0
KEPT_DAYS = 30


class Machine:
    """A directory, and a clock that can be set."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self._real = time.time
        self._ahead_s = 0.0
        self.said = []
        monkeypatch.setattr(time, "time", lambda: self._real() + self._ahead_s)

    def set(self, days):
        self._ahead_s += days * DAY_S

    def run(self, days, writer=WRITER):
        """A process that lives for some days, records something in each, and looks for what is old as often."""
        log = sink(self.folder, writer=writer, max_bytes=1)
        keeping = Keeping(self.folder, writer, KEYS, True, KEPT_DAYS, partial(self._recorded, log))  # noqa: FBT003 - its rules
        for _ in range(days):
            with structlog.testing.capture_logs() as said:
                keeping.remove_old()
            self.said += said
            log.append([entry(1)])
            self.set(1)
        log.close()

    @staticmethod
    def _recorded(log, _name, removed):
        log.append([Entry(own_record(events.SEGMENTS_REMOVED, removed=removed))])
        return True

    def numbers(self, writer=WRITER):
        return [each.number for each in segments(self.folder)[writer]]

    @property
    def warned(self):
        return [line for line in self.said if "was not seen to pass" in line["event"]]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    made = Machine(tmp_path, monkeypatch)
    yield made
    assert all(verdict.bad is None for verdict in verify(tmp_path, KEYS))


def test_what_is_older_than_the_retention_is_removed_day_by_day(machine):
    machine.run(KEPT_DAYS)
    assert machine.numbers()[0] == 1
    machine.run(10)
    assert machine.numbers()[0] in {9, 10, 11}
    assert not machine.warned


@pytest.mark.parametrize("days", [31, 400, 4000])
def test_a_start_with_a_clock_that_is_ahead_removes_nothing(days, machine):
    machine.run(10)
    machine.set(days)
    machine.run(1)
    assert machine.numbers()[0] == 1
    assert [(line["days_by_the_clock"] >= days, line["days_seen"] < KEPT_DAYS / 2) for line in machine.warned] == [(True, True)]


def test_a_clock_that_stays_ahead_is_believed_as_far_as_it_runs(machine):
    machine.run(10)
    machine.set(400)
    for _ in range(15):
        machine.run(1)
    assert machine.numbers()[0] == 1
    machine.run(20)
    assert machine.numbers()[0] > 1


def test_a_clock_that_is_mended_goes_on_as_before(machine):
    machine.run(10)
    machine.set(400)
    machine.run(1)
    machine.set(-401)
    machine.run(15)
    assert machine.numbers()[0] == 1
    machine.run(10)
    assert machine.numbers()[0] in {4, 5, 6}
    machine.run(20)
    # What stands behind a record of next year waits as long as that, and the log says so.
    assert machine.numbers()[0] in {11, 12}
    assert [line for line in machine.said if "lies ahead" in line["event"] and line["days_ahead"] > 300]


def test_records_of_a_clock_that_was_behind_are_kept_as_long_as_others(machine):
    machine.set(-18_000)
    machine.run(2)
    machine.set(18_000)
    machine.run(20)
    assert machine.numbers()[0] == 1
    assert machine.warned
    machine.run(15)
    assert machine.numbers()[0] > 1


def test_a_clock_that_jumps_while_a_process_runs_removes_nothing(machine):
    log = sink(machine.folder, max_bytes=1)
    log.append([entry(1)])
    log.append([entry(2)])
    keeping = Keeping(machine.folder, WRITER, KEYS, True, KEPT_DAYS, lambda *_: pytest.fail("something was to be removed"))  # noqa: FBT003
    for days in (0, 100, 100, -50, 1):
        machine.set(days)
        keeping.remove_old()
        log.append([entry(3)])
    log.close()


def test_a_long_pause_delays_the_removal_and_does_not_prevent_it(machine):
    machine.run(10)
    machine.set(100)
    machine.run(10)
    assert machine.numbers()[0] == 1
    machine.run(15)
    assert machine.numbers()[0] > 1


def test_the_log_of_a_writer_that_is_gone_grows_old_while_another_one_runs(machine):
    machine.run(3, "gone")
    machine.run(25)
    assert len(machine.numbers("gone")) == 3
    machine.set(400)
    machine.run(1)
    assert len(machine.numbers("gone")) == 3


@given(st.lists(st.integers(1, 100), max_size=20), st.integers(-10, 10**9), st.integers(0, 20))
def test_a_jump_counts_as_one_pause_at_most(steps, jump, at):
    moments, now = [], 0
    for step in steps:
        now += step
        moments.append(now)
    honest = passed(moments, 0, now + 1, 100)
    assert honest == now + 1
    late = [moment + (jump if number >= at else 0) for number, moment in enumerate(moments)]
    told = passed(sorted(late), 0, late[-1] + 1 if late else now + 1, 100)
    assert told <= honest + 100


async def test_a_gateway_that_starts_with_a_clock_400_days_ahead_keeps_its_log(tmp_path, monkeypatch):
    machine = Machine(tmp_path / "log", monkeypatch)
    async with open_audit(settings(tmp_path, segment_mib=0.003, compress=False)) as audit:
        for number in range(20):
            audit.ended(events.READ_ENDED, read(str(number), time.time()))
            await until(lambda number=number: audit._writer._sink.head.sequence > number)
    before = [each.path for each in segments(tmp_path / "log")["one"]]
    assert len(before) > 2
    machine.set(400)
    for _ in range(3):
        with structlog.testing.capture_logs() as said:
            async with open_audit(settings(tmp_path, retention_days=KEPT_DAYS)) as audit:
                await until(lambda said=said: [line for line in said if "was not seen to pass" in line["event"]])
                audit.ended(events.READ_ENDED, read("later", time.time()))
        assert {each.number for each in segments(tmp_path / "log")["one"]} >= set(range(1, len(before) + 1))


def test_a_writer_that_records_nothing_is_seen_to_run(tmp_path):
    log = sink(tmp_path)
    for _ in range(3):
        # As if its time were over.
        log._ends_at = time.monotonic()
        assert log.checkpoint() is not None
        assert log.checkpoint() is None
    log.close()
    assert [each.number for each in segments(tmp_path)[WRITER]] == [1, 2, 3]
    assert verify(tmp_path, KEYS)[0].bad is None


@pytest.mark.parametrize(("days", "hours"), [(365, 24), (10, 24), (1, 2.4), (0.1, 0.24), (0.0001, 1 / 60), (None, 24)])
def test_segments_are_begun_often_enough_for_the_retention(days, hours, tmp_path):
    assert settings(tmp_path, retention_days=days).segment_s == pytest.approx(hours * 3600)
