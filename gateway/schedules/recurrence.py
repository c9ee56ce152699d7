"""The times of a policy: the subset of iCalendar's recurrence rules that CBR has, in UTC; pure.

`FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=14;BYMINUTE=00`, `FREQ=DAILY;INTERVAL=2;BYHOUR=6;BYMINUTE=00`
"""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_DAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_PARTS: Final = frozenset({"FREQ", "INTERVAL", "BYDAY", "BYHOUR", "BYMINUTE"})
_MOST_INTERVAL: Final = 366
_DAY: Final = dt.timedelta(days=1)


class Rule(Struct, frozen=True):
    """On these days of the week, at these times of the day, every so many days or weeks.

    `uncertain_s`: CBR does not publish from when on it counts an interval above one: a run may come
    so much earlier than `times` says.
    """

    weekly: bool
    interval: int
    weekdays: frozenset[int]
    times_of_day: tuple[dt.time, ...]

    @property
    def uncertain_s(self) -> float:
        return (self.interval - 1) * (7 if self.weekly else 1) * _DAY.total_seconds()

    def times(self, start: float, after: float, until: float) -> Iterator[float]:
        """Those later than `after`, up to `until`, by a rule that is in force since `start`.

        All in seconds since 1970.
        """
        first, last = _date(max(start, after)), _date(until)
        for day in range((last - first).days + 1):
            date = first + day * _DAY
            if self._falls_on(date, _date(start)):
                for time in self.times_of_day:
                    at = dt.datetime.combine(date, time, dt.UTC).timestamp()
                    if max(start, after) < at <= until:
                        yield at

    def _falls_on(self, date: dt.date, start: dt.date) -> bool:
        if date.weekday() not in self.weekdays:
            return False
        if self.weekly:
            return (_monday(date) - _monday(start)).days // 7 % self.interval == 0
        return (date - start).days % self.interval == 0


def rule_of(text: str) -> Rule:
    """Raises ValueError for what is not in CBR's subset, or leaves open at which time it is."""
    parts = dict(part.partition("=")[::2] for part in text.strip(";").split(";"))
    if not parts.keys() <= _PARTS or parts.get("FREQ") not in {"DAILY", "WEEKLY"}:
        raise ValueError(text)
    weekly = parts["FREQ"] == "WEEKLY"
    if weekly and "BYDAY" not in parts:
        raise ValueError(text)
    interval = int(parts.get("INTERVAL", "1"))
    if not 1 <= interval <= _MOST_INTERVAL:
        raise ValueError(text)
    hours, minutes = _numbers(parts.get("BYHOUR", "")), _numbers(parts.get("BYMINUTE", ""))
    return Rule(
        weekly,
        interval,
        frozenset(map(_DAYS.index, parts["BYDAY"].split(",") if "BYDAY" in parts else _DAYS)),
        tuple(dt.time(hour, minute) for hour in hours for minute in minutes),
    )


def _numbers(text: str) -> list[int]:
    return sorted({int(number) for number in text.split(",")})


def _date(seconds: float) -> dt.date:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).date()


def _monday(date: dt.date) -> dt.date:
    return date - date.weekday() * _DAY
