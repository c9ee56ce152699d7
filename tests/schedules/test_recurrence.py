"""The times of a policy, by the rules that CBR takes."""

import datetime as dt

import pytest

from gateway.schedules.recurrence import rule_of

DAY = 86_400


def seconds(text):
    return dt.datetime.fromisoformat(text + "Z").timestamp()


def times(rule, after, until, start="2026-01-05T00:30"):
    found = rule_of(rule).times(seconds(start), seconds(after), seconds(until))
    return [f"{dt.datetime.fromtimestamp(at, dt.UTC):%m-%dT%H:%M}" for at in found]


CASES = {
    "FREQ=DAILY;BYHOUR=3;BYMINUTE=00": ["01-06T03:00", "01-07T03:00", "01-08T03:00"],
    "FREQ=DAILY;INTERVAL=1;BYHOUR=3,15;BYMINUTE=30;": [
        *("01-05T15:30", "01-06T03:30", "01-06T15:30"),
        *("01-07T03:30", "01-07T15:30", "01-08T03:30"),
    ],
    "FREQ=DAILY;INTERVAL=2;BYHOUR=3;BYMINUTE=00": ["01-07T03:00"],
    "FREQ=WEEKLY;BYDAY=TU,TH;BYHOUR=03;BYMINUTE=00": ["01-06T03:00", "01-08T03:00"],
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=WE;BYHOUR=3;BYMINUTE=00": ["01-07T03:00"],
    "FREQ=DAILY;BYDAY=SU;BYHOUR=3;BYMINUTE=00": [],
}


@pytest.mark.parametrize(("rule", "expected"), CASES.items(), ids=CASES)
def test_a_rule_has_its_times(rule, expected):
    assert times(rule, "2026-01-05T03:30", "2026-01-08T03:59") == expected


def test_an_interval_counts_from_when_the_policy_is_in_force():
    rule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=3;BYMINUTE=00"
    assert times(rule, "2026-01-01T00:00", "2026-02-03T00:00") == [
        *("01-05T03:00", "01-19T03:00", "02-02T03:00")
    ]
    assert times(rule, "2026-01-05T03:00", "2026-01-19T02:59") == []
    later = times(rule, "2026-01-01T00:00", "2026-01-20T00:00", start="2026-01-05T04:00")
    assert later == ["01-19T03:00"]


def test_a_week_begins_on_monday_whenever_the_policy_began():
    rule = "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR;BYHOUR=3;BYMINUTE=00"
    assert times(rule, "2026-01-08T12:00", "2026-02-01T00:00", start="2026-01-08T12:00") == [
        *("01-09T03:00", "01-19T03:00", "01-23T03:00")
    ]


def test_a_run_may_come_earlier_where_cbr_does_not_say_from_when_it_counts():
    assert rule_of("FREQ=DAILY;BYHOUR=3;BYMINUTE=00").uncertain_s == 0
    assert rule_of("FREQ=DAILY;INTERVAL=3;BYHOUR=3;BYMINUTE=00").uncertain_s == 2 * DAY
    weekly = rule_of("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=3;BYMINUTE=00")
    assert weekly.uncertain_s == 7 * DAY


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "FREQ=MONTHLY;BYHOUR=3;BYMINUTE=00",
        "FREQ=WEEKLY;BYHOUR=3;BYMINUTE=00",
        "FREQ=DAILY;BYHOUR=3",
        "FREQ=DAILY;BYMINUTE=00",
        "FREQ=DAILY;BYHOUR=24;BYMINUTE=00",
        "FREQ=DAILY;BYHOUR=3;BYMINUTE=60",
        "FREQ=DAILY;BYHOUR=x;BYMINUTE=00",
        "FREQ=DAILY;INTERVAL=0;BYHOUR=3;BYMINUTE=00",
        "FREQ=WEEKLY;BYDAY=XX;BYHOUR=3;BYMINUTE=00",
        "FREQ=DAILY;BYHOUR=3;BYMINUTE=00;UNTIL=20270101",
    ],
)
def test_what_cannot_be_understood_is_no_rule(rule):
    with pytest.raises(ValueError):
        rule_of(rule)
