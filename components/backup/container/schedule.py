"""Cron schedules: five fields, in a time zone, with the last moment that was due.

Enough of cron for backups, in the standard library alone, because it runs in the database's image. Names of months
and days, `@daily` and the like are refused with a sentence.
"""

import calendar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_LOOK_BACK_DAYS = 366 * 5
"""February 29th comes at least every eight years, but a schedule that rare is no schedule for backups."""


class ScheduleError(ValueError):
    """A text that is no schedule; the message says which field and what is allowed."""


def _values(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            step = int(step_text) if slash else 1
            start = low if span == "*" else int(first)
            stop = high if span == "*" or (slash and not dash) else int(last if dash else first)
        except ValueError:
            raise ScheduleError(f"{name} {part!r} is not a number, a range, * or */step") from None
        if not (low <= start <= stop <= high and step >= 1):
            raise ScheduleError(f"{name} {part!r} is outside {low}-{high}")
        found.update(range(start, stop + 1, step))
    return frozenset(found)


@dataclass(frozen=True)
class Schedule:
    """``Schedule("0 2 * * *", ZoneInfo("Europe/Paris"))``.

    Raises:
        ScheduleError: when ``text`` is no schedule.
    """

    text: str
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    parsed: tuple[frozenset[int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Parse once, so that a fault shows at the start and not at the first due moment."""
        parts = self.text.split()
        if len(parts) != len(_FIELDS):
            raise ScheduleError(f"{self.text!r} has {len(parts)} fields; a schedule has 5, for example 0 2 * * *")
        parsed = tuple(_values(part, *limits) for part, limits in zip(parts, _FIELDS, strict=True))
        object.__setattr__(self, "parsed", parsed)

    def _day_matches(self, moment: datetime) -> bool:
        _, _, days, months, weekdays = self.parsed
        any_day, any_weekday = (self.text.split()[index].startswith("*") for index in (2, 4))
        if moment.month not in months:
            return False
        by_day = moment.day in days
        # Sunday is 0 and 7 in cron, 7 in ISO.
        weekday = calendar.weekday(moment.year, moment.month, moment.day) + 1
        by_weekday = weekday in weekdays or (weekday == 7 and 0 in weekdays)
        # cron's rule: two restricted day fields mean either of them.
        return (by_day and by_weekday) if any_day or any_weekday else (by_day or by_weekday)

    def last_due(self, now: datetime) -> datetime | None:
        """The newest due moment that is not after ``now`` (aware), in UTC; None when there is none in five years.

        A time that the clock skips in spring is due right after the gap; one that it repeats in autumn is due once.
        """
        minutes, hours = self.parsed[:2]
        local = now.astimezone(self.zone)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for back in range(_LOOK_BACK_DAYS):
            date = day - timedelta(days=back)
            if not self._day_matches(date):
                continue
            for hour in sorted(hours, reverse=True):
                for minute in sorted(minutes, reverse=True):
                    due = date.replace(hour=hour, minute=minute, tzinfo=self.zone).astimezone(UTC)
                    if due <= now:
                        return due
        return None
