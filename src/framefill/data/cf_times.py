"""Numbers as times and back, by units such as "hours since 1900-01-01" (CF conventions, 4.4)."""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

NANOSECONDS = {  # in a unit, by its names
    **dict.fromkeys(("nanosecond", "nanoseconds", "nanosec", "nsec", "ns"), 1),
    **dict.fromkeys(("microsecond", "microseconds", "microsec", "usec", "us"), 10**3),
    **dict.fromkeys(("millisecond", "milliseconds", "millisec", "msec", "ms"), 10**6),
    **dict.fromkeys(("second", "seconds", "sec", "secs", "s"), 10**9),
    **dict.fromkeys(("minute", "minutes", "min", "mins"), 60 * 10**9),
    **dict.fromkeys(("hour", "hours", "hr", "hrs", "h"), 3600 * 10**9),
    **dict.fromkeys(("day", "days", "d"), 86400 * 10**9),
    **dict.fromkeys(("week", "weeks"), 7 * 86400 * 10**9),
}
DATE = re.compile(
    r"(?P<year>\d{1,4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:[T ]\s*(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2}(?:\.\d*)?))?)?)?"
    r"\s*(?:Z|UTC|GMT|(?P<zone>[+-]\d{1,2}(?::?\d{2})?))?",
    re.IGNORECASE,
)
MIXED = ("", "standard", "gregorian")  # Julian before 15 October 1582
GREGORIAN = "proleptic_gregorian"
DAY = 86400 * 10**9
LAST = 2**63 - 1  # nanosecond since 1970 that datetime64 has


class Units(NamedTuple):
    """What numbers mean as times.

    Args:
        step: Nanoseconds of one unit; 0 where they are plain numbers.
        since: Nanoseconds from 1970 to their zero; None where only distances are known.
    """

    step: int
    since: int | None


def units_of(units: str, calendar: str) -> Units:
    """Read the units of a time coordinate; other calendars than ours have distances alone.

    >>> units_of("hours since 1970-01-02", "standard")
    Units(step=3600000000000, since=86400000000000)

    Args:
        units: Such as "days since 1900-01-01 00:00", or "seconds".
        calendar: Of CF; "" is the standard one.
    """
    unit, *date = re.split(r"\s+since\s+", units.strip(), maxsplit=1, flags=re.IGNORECASE)
    step = NANOSECONDS.get(unit.lower(), 0)
    known = calendar.lower() in (*MIXED, GREGORIAN)
    if not date or not step or not known or len(units) > 100:
        return Units(step, None)
    found = DATE.fullmatch(date[0].strip())
    return Units(step, None if found is None else _nanoseconds(found, calendar.lower() in MIXED))


def _nanoseconds(found: re.Match[str], mixed: bool) -> int | None:
    year, month, day = (int(found[part]) for part in ("year", "month", "day"))
    hour, minute = (int(found[part] or 0) for part in ("hour", "minute"))
    second = round(float(found["second"] or 0) * 10**9)
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 24 and minute < 60):
        return None
    julian = mixed and (year, month, day) < (1582, 10, 15)
    days = _days(year, month, day, julian=julian)
    sign, zone = 1, (found["zone"] or "").replace(":", "")
    if zone.startswith("-"):
        sign = -1
    digits = zone[1:]
    hours, minutes = (int(digits[:-2]), int(digits[-2:])) if len(digits) > 2 else (digits or 0, 0)
    east = sign * (int(hours) * 60 + minutes)
    return days * DAY + (hour * 60 + minute - east) * 60 * 10**9 + second


def _days(year: int, month: int, day: int, *, julian: bool) -> int:
    """Return the days from 1970-01-01 to a date (Richards, Explanatory Supplement, 15.11.3)."""
    shift = (14 - month) // 12  # years begin in March, so that leap days come last
    years, months = year + 4800 - shift, month + 12 * shift - 3
    number = day + (153 * months + 2) // 5 + 365 * years + years // 4
    number += -32083 if julian else years // 400 - years // 100 - 32045
    return number - 2440588


def decoded(numbers: Shaped[np.ndarray, " f"], units: Units) -> Shaped[np.ndarray, " f"]:
    """Return times: datetime64[ns] where they are known, else float64 seconds or plain numbers.

    Args:
        numbers: Of a time coordinate.
        units: Its units.
    """
    if not units.step:
        return numbers.astype(np.float64)
    plain = numbers.astype(np.float64)
    if units.since is None or not np.isfinite(plain).all() or not len(numbers):
        return plain * units.step / 1e9
    limits = [units.since + round(float(each) * units.step) for each in (plain.min(), plain.max())]
    huge = numbers.dtype.kind == "f" and np.abs(plain).max() >= LAST
    if huge or min(limits) <= -LAST or max(limits) >= LAST:
        return plain * units.step / 1e9
    # The products may need more than 64 bits, but the sums don't: what is too much cancels out.
    if numbers.dtype.kind == "f":
        whole = np.floor(plain).astype(np.int64)
        part = np.rint((plain - whole) * float(units.step)).astype(np.int64)
    else:
        whole, part = numbers.astype(np.int64), np.zeros(len(numbers), np.int64)
    origin = np.array([units.since % 2**64], np.uint64).view(np.int64)
    return (whole * np.int64(units.step) + part + origin).view("datetime64[ns]")


def encoded(times: Shaped[np.ndarray, " f"], units: Units) -> Shaped[np.ndarray, " f"] | None:
    """Return the numbers of times, the opposite of `decoded`; integers where these are exact.

    Args:
        times: datetime64[ns], or float64 in seconds or plain.
        units: As the numbers are to be understood; None is returned if times can't be said so.
    """
    if times.dtype.kind != "M":
        return times * 1e9 / units.step if units.step else times
    if units.since is None or np.isnat(times).any():
        return None
    since = times.astype("datetime64[ns]").view(np.int64).tolist()
    pairs = [divmod(each - units.since, units.step) for each in since]
    if any(rest or abs(whole) > LAST for whole, rest in pairs):
        return np.array([whole + rest / units.step for whole, rest in pairs], np.float64)
    return np.array([whole for whole, _ in pairs], np.int64)


def fresh(times: Shaped[np.ndarray, " f"]) -> tuple[Shaped[np.ndarray, " f"], str, str]:
    """Return the numbers, the units and the calendar for times that no file has had yet.

    >>> fresh(np.array(["2020-01-01T00:00:01"], "datetime64[ns]"))
    (array([1577836801]), 'seconds since 1970-01-01', 'proleptic_gregorian')
    """
    if times.dtype.kind != "M":
        return times.astype(np.float64), "seconds", ""
    since = times.astype("datetime64[ns]").view(np.int64)
    units = ("seconds", "milliseconds", "microseconds", "nanoseconds")
    unit = next(each for each in units if not (since % NANOSECONDS[each]).any())
    return since // NANOSECONDS[unit], f"{unit} since 1970-01-01", GREGORIAN


def restored(
    times: Shaped[np.ndarray, " f"],
    units: Units,
    numbers: Shaped[np.ndarray, " n"],
    known: Shaped[np.ndarray, " n"],
) -> Shaped[np.ndarray, " f"] | None:
    """Return the numbers of times, those that a file had just as they were.

    Their dtype stays what it was, as long as it can hold the new ones; else it is float64.

    Args:
        times: To be written.
        units: Of the file.
        numbers: That were in the file.
        known: The times that they are.
    """
    if times.dtype.kind != known.dtype.kind:
        return None
    found = encoded(times, units)
    if found is None:
        return None
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known[order], times), len(known) - 1)
    same = known[order][at] == times
    old = numbers[order][at]
    with np.errstate(all="ignore"):
        narrow = found.astype(numbers.dtype)
    if (same | (narrow == found)).all():
        return np.where(same, old, narrow)
    return np.where(same, old.astype(np.float64), found.astype(np.float64))
