"""Old segments are removed once they are old, and never since one clock says so."""

import asyncio
import time
from functools import partial

import grpc
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from emulator.server import running_emulator
from gateway.app import open_app
from gateway.audit import events
from gateway.audit.events import own_record
from gateway.audit.intents import Entry
from gateway.audit.opening import open_audit
from gateway.audit.retention import Retention, passed
from gateway.audit.segments import segments
from gateway.audit.verify import verify
from gateway.config import load
from gateway.way import clocks_of
from tests.audit.logs import KEYS, WRITER, entry, sink
from tests.audit.test_opening import read, settings
from tests.functional.calls import Caller, until
from tests.functional.test_reload import ENVIRON, FIRST, main_file, tenant

DAY_S = 86_400.0
KEPT_DAYS = 30


class Machine:
    """A directory, and a clock that can be set."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self._real = time.time
        self._ahead_s = 0.0
        self._passed_s = 0.0
        self.others = lambda: [self.truth]
        self.said = []
        monkeypatch.setattr(time, "time", lambda: self._real() + self._ahead_s)

    @property
    def truth(self):
        """What other clocks say that are right."""
        return self._real() + self._passed_s

    def set(self, days):
        """Its clock alone."""
        self._ahead_s += days * DAY_S

    def wait(self, days):
        """So much time passes."""
        self.set(days)
        self._passed_s += days * DAY_S

    def run(self, days, writer=WRITER):
        """A process that lives for some days, records something in each, and looks for what is old
        as often.
        """
        log = sink(self.folder, writer=writer, max_bytes=1)
        retention = Retention(
            self.folder,
            writer,
            KEYS,
            True,  # noqa: FBT003 - its rules
            KEPT_DAYS,
            partial(self._recorded, log),
            self.others,
        )
        for _ in range(days):
            with structlog.testing.capture_logs() as said:
                retention.remove_old()
            self.said += said
            log.append([entry(1)])
            self.wait(1)
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
    assert [
        (line["days_by_the_clock"] >= days, line["days_seen"] < KEPT_DAYS / 2)
        for line in machine.warned
    ] == [(True, True)]


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
    assert [
        line for line in machine.said if "lies ahead" in line["event"] and line["days_ahead"] > 300
    ]


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
    refused = partial(pytest.fail, "something was to be removed")
    retention = Retention(
        machine.folder,
        WRITER,
        KEYS,
        True,  # noqa: FBT003 - its rules
        KEPT_DAYS,
        lambda *_: refused(),
        lambda: [time.time()],
    )
    for days in (0, 100, 100, -50, 1):
        machine.set(days)
        retention.remove_old()
        log.append([entry(3)])
    log.close()


def test_a_long_pause_delays_the_removal_and_does_not_prevent_it(machine):
    machine.run(10)
    machine.wait(100)
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


def test_a_clock_that_creeps_ahead_is_found_out_by_any_other_one(machine):
    """Each of the starts looks like one a day after the last; they lie minutes apart."""
    for _ in range(2 * KEPT_DAYS):
        log = sink(machine.folder, max_bytes=1)
        log.append([entry(1)])
        log.close()
        machine.set(1)
    machine.run(1)
    assert machine.numbers()[0] == 1
    assert not machine.warned
    (line,) = [
        line for line in machine.said if "another clock says that they are not old" in line["event"]
    ]
    assert (line["log_level"], line["days_ahead"]) == ("warning", 2 * KEPT_DAYS)
    machine.wait(KEPT_DAYS)
    machine.run(1)
    assert machine.numbers()[0] > 1


@pytest.mark.parametrize(
    "others", [lambda truth: [truth, truth - 5 * DAY_S], lambda truth: [truth - 400 * DAY_S]]
)
def test_one_clock_that_says_otherwise_is_enough(machine, others):
    machine.run(KEPT_DAYS)
    machine.others = lambda: others(machine.truth)
    machine.run(4)
    assert machine.numbers()[0] == 1
    assert [
        line for line in machine.said if "another clock says that they are not old" in line["event"]
    ]
    machine.others = lambda: [machine.truth + 400 * DAY_S, machine.truth]
    machine.run(1)
    assert machine.numbers()[0] > 1


def test_nothing_is_removed_while_no_other_clock_is_known(machine):
    machine.others = list
    machine.run(2 * KEPT_DAYS)
    assert machine.numbers()[0] == 1
    assert [
        line
        for line in machine.said
        if "until another clock confirms their age" in line["event"]
        and line["log_level"] == "warning"
    ]
    machine.others = lambda: [machine.truth]
    machine.run(1)
    assert machine.numbers()[0] > 20


async def test_a_gateway_asks_the_clocks_of_cbr_and_of_its_store(tmp_path, monkeypatch):
    async with running_emulator() as cloud:
        (tmp_path / "tenants").mkdir()
        (tmp_path / "tenants" / "a.yaml").write_text(tenant("a", FIRST, "key-a"))
        config = load(main_file(tmp_path, cloud.base_url), ENVIRON, {})
        async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
            assert await clocks_of(app.client, app.store.life) == []
            await Caller(channel, (("authorization", "Bearer key-a"),)).ok(
                "VaultService/ListVaults"
            )
            (told,) = await clocks_of(app.client, app.store.life)
            assert abs(told - time.time()) < 30
            monkeypatch.setattr(app.store.life, "time", lambda: asyncio.sleep(0, 17.0))
            assert 17.0 in await clocks_of(app.client, app.store.life)


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


async def test_a_gateway_that_starts_with_a_clock_400_days_ahead_keeps_its_log(
    tmp_path, monkeypatch
):
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
                await until(
                    lambda said=said: [
                        line for line in said if "was not seen to pass" in line["event"]
                    ]
                )
                audit.ended(events.READ_ENDED, read("later", time.time()))
        assert {each.number for each in segments(tmp_path / "log")["one"]} >= set(
            range(1, len(before) + 1)
        )


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


@pytest.mark.parametrize(
    ("days", "hours"), [(365, 24), (10, 24), (1, 2.4), (0.1, 0.24), (0.0001, 1 / 60), (None, 24)]
)
def test_segments_are_begun_often_enough_for_the_retention(days, hours, tmp_path):
    assert settings(tmp_path, retention_days=days).segment_s == pytest.approx(hours * 3600)
