# SPDX-License-Identifier: Apache-2.0
"""Calendar events: what is read, what is refused, when they come; and what systemd says of the same text."""

import calendar
import datetime
import itertools
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment_recipes.calendar_event import CalendarError, parse

MONDAY = datetime.datetime(2026, 11, 23, 10, 38, tzinfo=datetime.UTC).timestamp()


def after(text: str, moment: float = MONDAY, zone: str = "UTC") -> str:
    at = parse(text).next_after(moment, zone)
    return "never" if at is None else f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%a %Y-%m-%d %H:%M:%S}"


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("minutely", "Mon 2026-11-23 10:39:00"),
        ("hourly", "Mon 2026-11-23 11:00:00"),
        ("daily", "Tue 2026-11-24 00:00:00"),
        ("Weekly", "Mon 2026-11-30 00:00:00"),
        ("monthly", "Tue 2026-12-01 00:00:00"),
        ("quarterly", "Fri 2027-01-01 00:00:00"),
        ("semiannually", "Fri 2027-01-01 00:00:00"),
        ("yearly", "Fri 2027-01-01 00:00:00"),
        ("weekly UTC", "Mon 2026-11-30 00:00:00"),
        ("*-*~3", "Sat 2026-11-28 00:00:00"),
        ("*-02~03", "Fri 2027-02-26 00:00:00"),
        ("*-02~01 12:00", "Sun 2027-02-28 12:00:00"),
        ("*-05~07/1", "Tue 2027-05-25 00:00:00"),
        ("Mon..Fri", "Tue 2026-11-24 00:00:00"),
        ("Sat-Sun,", "Sat 2026-11-28 00:00:00"),
        ("mon,Tuesday 10:00", "Tue 2026-11-24 10:00:00"),
        ("Fri *-*-13", "Fri 2027-08-13 00:00:00"),
        ("*:0/15", "Mon 2026-11-23 10:45:00"),
        ("*:1..9/3,20", "Mon 2026-11-23 11:01:00"),
        ("10:38", "Tue 2026-11-24 10:38:00"),
        ("10:38:01", "Mon 2026-11-23 10:38:01"),
        ("*:*:0/20", "Mon 2026-11-23 10:38:20"),
        ("*-1/2-1", "Fri 2027-01-01 00:00:00"),
        ("*-*-31", "Thu 2026-12-31 00:00:00"),
        ("2028-02-29", "Tue 2028-02-29 00:00:00"),
        ("28-2-29 7:5", "Tue 2028-02-29 07:05:00"),
        ("70-1-1", "never"),
        ("2027-02-29", "never"),
        ("@1795432000", "Mon 2026-11-23 14:26:40"),
        ("@1395716396", "never"),
        ("*-*~7/2", "Tue 2026-11-24 00:00:00"),
        ("*-*~3..8/2", "Tue 2026-11-24 00:00:00"),
        ("12:00 Asia/Tokyo", "Tue 2026-11-24 03:00:00"),
    ],
)
def test_the_next_time(text: str, expected: str) -> None:
    if expected == "Mon 2026-11-23 14:26:40":
        expected = f"{datetime.datetime.fromtimestamp(1795432000, datetime.UTC):%a %Y-%m-%d %H:%M:%S}"
    assert after(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not weekdays, a date and a time"),
        ("*:*/5", "'*/5' is not a minute, a range such as 1..5, or a step such as 0/15"),
        ("*:30..10", "'30..10' ends before it begins"),
        ("*:0/0", "'0/0': a step is above zero"),
        ("24:00", "'24': hours are from 0 to 23"),
        ("10:60", "'60': minutes are from 0 to 59"),
        ("*-13-1", "'13': months are from 1 to 12"),
        ("*-*-0", "'0': days are from 1 to 31"),
        ("10", "'10' is not a date such as *-*-01"),
        ("2026-~1", "'' is not a month, a range such as 1..5, or a step such as 0/15"),
        ("*-*-1~3", "'*-*-1~3' is not a date such as *-*-01"),
        ("Fri..Mon", "'Fri..Mon' ends before it begins"),
        ("Foo", "'Foo' is not a weekday such as Mon"),
        ("Mon,,Tue", "'' is not a weekday or a range such as Mon..Fri"),
        ("Monday 10:00 Nowhere", "'Nowhere' is not a time zone such as Europe/Paris"),
        ("10:00 Europe/../../x", "'Europe/../../x' is not a time zone such as Europe/Paris"),
        ("10:00 Europe", "'Europe' is not a time zone such as Europe/Paris"),
        ("10:00:00.5", "'10:00:00.5': fractions of a second are not for cron"),
        ("1:2:3:4", "'1:2:3:4' is not a time such as 10:30 or 10:30:00"),
        ("*-*-* *-*-*", "'*-*-*' is not a time such as 10:30"),
        ("10:00 11:00", "'10:00' is not a date such as *-*-01"),
        ("* * * *", "'* * * *' is not weekdays, a date and a time"),
        ("@12 UTC", "'@12 UTC': seconds since the epoch have no time zone"),
        ("٣:00", "'٣' is not a hour, a range such as 1..5, or a step such as 0/15"),
    ],
)
def test_what_is_no_event_is_named(text: str, message: str) -> None:
    with pytest.raises(CalendarError) as caught:
        parse(text)
    assert str(caught.value) == message


@given(st.text(alphabet="0123456789*,./-~:@ MonTueFriUTCdaily", max_size=24) | st.text(max_size=12))
def test_any_text_is_an_event_or_a_calendar_error(text: str) -> None:
    try:
        event = parse(text)
    except CalendarError as error:
        assert str(error)
    else:
        found = event.next_after(MONDAY, "UTC")
        assert found is None or found > MONDAY


def test_a_gap_moves_a_time_to_its_end_and_skips_what_comes_each_hour() -> None:
    saturday = at("2026-03-28 12:00:00")  # in Paris 02:00 to 03:00 of the 29th does not exist
    assert after("02:30", saturday, "Europe/Paris") == "Sun 2026-03-29 01:00:00"
    assert after("02:30", at("2026-03-29 01:00:00"), "Europe/Paris") == "Mon 2026-03-30 00:30:00"
    assert after("*:30", at("2026-03-29 00:30:00"), "Europe/Paris") == "Sun 2026-03-29 01:30:00"
    assert after("*-*-29..30 02:15 Europe/Paris", saturday) == "Sun 2026-03-29 01:00:00"


def test_a_repeated_hour_has_a_time_once_and_what_comes_each_hour_twice() -> None:
    before = at("2026-10-25 00:00:00")  # in Paris 02:00 to 03:00 comes twice: at 00:00 and at 01:00 UTC
    assert after("02:30", before, "Europe/Paris") == "Sun 2026-10-25 00:30:00"
    assert after("02:30", at("2026-10-25 00:30:00"), "Europe/Paris") == "Mon 2026-10-26 01:30:00"
    quarters = [before]
    for _ in range(8):
        found = parse("*:0/15").next_after(quarters[-1], "Europe/Paris")
        assert found is not None
        quarters.append(found)
    assert [int(later - earlier) for earlier, later in itertools.pairwise(quarters)] == [900] * 8


@st.composite
def components(draw: st.DrawFn, first: int, last: int) -> str:
    def item() -> str:
        low, high = sorted(draw(st.tuples(st.integers(first, last), st.integers(first, last))))
        step = draw(st.integers(1, 9))
        return draw(st.sampled_from([f"{low}", f"{low}..{high}", f"{low}/{step}", f"{low}..{high}/{step}"]))

    if draw(st.booleans()):
        return "*"
    return ",".join(item() for _ in range(draw(st.integers(1, 3))))


@st.composite
def events(draw: st.DrawFn) -> str:
    names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    low, high = sorted(draw(st.tuples(st.integers(0, 6), st.integers(0, 6))))
    weekdays = draw(st.sampled_from(["", names[low], f"{names[low]}..{names[high]}", f"{names[low]},{names[high]}"]))
    day = draw(st.sampled_from(["-", "~"])) + draw(components(1, 28))
    date = draw(st.sampled_from(["", f"{draw(components(1, 12))}{day}", f"*-{draw(components(1, 12))}{day}"]))
    time = draw(components(0, 23)) + ":" + draw(components(0, 59)) + draw(st.sampled_from(["", ":0", ":30", ":0/20"]))
    return " ".join(part for part in (weekdays, date, time) if part)


@settings(max_examples=60)
@given(events(), st.integers(0, 2_000_000_000))
def test_no_matching_time_is_passed_over(text: str, moment: int) -> None:
    """Each time that is given matches, and none of the days before it does."""
    event = parse(text)
    found = event.next_after(moment, "UTC")
    assert found is not None
    assert found > moment
    moments = [found, *(found - 86400 * days for days in range(1, 40) if found - 86400 * days > moment)]
    matches = [datetime.datetime.fromtimestamp(item, datetime.UTC) for item in moments]

    def is_day(day: datetime.datetime) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        is_in = day.day in event.days or length + 1 - day.day in event.days_from_end
        return is_in and day.month in event.months and day.weekday() in event.weekdays

    assert is_day(matches[0])
    assert matches[0].hour in event.hours
    assert matches[0].minute in event.minutes
    assert matches[0].second in event.seconds
    assert not any(is_day(day) for day in matches[1:])


def test_systemd_agrees() -> None:
    """The same texts, by systemd where it is; it refuses some steps that are longer than what is left."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    agreed = []

    @settings(max_examples=40, database=None)
    @given(events())
    def compare(text: str) -> None:
        command = [analyze, "calendar", "--iterations=3", "--base-time=2026-11-23 10:38:00 UTC", text]
        done = subprocess.run(command, capture_output=True, text=True, env={"TZ": "UTC"}, timeout=60, check=False)
        theirs = re.findall(r"(?:elapse|#\d+): (?:\w+ )?(\S+ \S+) UTC", done.stdout)
        moment, ours = MONDAY, []
        for _ in theirs:
            following = parse(text).next_after(moment, "UTC")
            assert following is not None
            moment = following
            ours.append(f"{datetime.datetime.fromtimestamp(moment, datetime.UTC):%Y-%m-%d %H:%M:%S}")
        assert ours == theirs, text
        agreed.append(len(ours))

    compare()
    assert sum(agreed) > 40
