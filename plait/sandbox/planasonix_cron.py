"""When a five-field cron expression fires next, by the wall clock of a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_FIELDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES: Final = {
    3: {
        name: number
        for number, name in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
        )
    },
    4: {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
}
_SUNDAY: Final = 7
_HORIZON: Final = 366 * 8
"""Days looked ahead: the 29th of February may be eight years away."""


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression that was understood."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    either_day: bool
    """Both day fields are narrowed, so that either of them is enough, as cron has it."""

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Read an expression.

        Raises:
            ValueError: it has not five fields, or one of them cannot be used.
        """
        fields = expression.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"{expression!r} has {len(fields)} fields instead of five")
        values = [_values(position, field) for position, field in enumerate(fields)]
        weekdays = frozenset(day % _SUNDAY for day in values[4])
        either = not (fields[2].startswith("*") or fields[4].startswith("*"))
        return cls(values[0], values[1], values[2], values[3], weekdays, either)

    def next(self, after: float, zone: ZoneInfo) -> float | None:
        """The first moment (Unix seconds) behind `after`; None for a date that never comes.

        A local time that the clock skips does not fire, one that it repeats fires once.
        """
        start = datetime.fromtimestamp(after, zone)
        for offset in range(_HORIZON):
            day = start.date() + timedelta(days=offset)
            if self._on(day):
                for moment in self._moments(day, zone):
                    if moment > after:
                        return moment
        return None

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % _SUNDAY in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday

    def _moments(self, day: date, zone: ZoneInfo) -> Iterator[float]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                local = datetime.combine(day, time(hour, minute), zone)
                moment = local.astimezone(UTC)
                if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    yield moment.timestamp()


def _values(position: int, field: str) -> frozenset[int]:
    low, high = _FIELDS[position]
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(position, first)
            end = _number(position, last) if dash else (high if step else begin)
        stride = int(step) if step else 1
        if not low <= begin <= end <= high or stride < 1:
            raise ValueError(f"{part!r} is not within {low} to {high}")
        found.update(range(begin, end + 1, stride))
    return frozenset(found)


def _number(position: int, word: str) -> int:
    named = _NAMES.get(position, {}).get(word)
    return int(word) if named is None else named


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name.

    Raises:
        ValueError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error
