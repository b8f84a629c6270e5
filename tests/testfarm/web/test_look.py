# SPDX-License-Identifier: Apache-2.0
"""States, times and sizes as people see them."""

import pytest

from allotment.messages.job import CaseOutcome, JobState, Outcome
from allotment_testfarm.web.look import day, iso, look, moment, size

NOW = 1_795_407_600.0  # 2026-11-23 05:00:00 UTC is 4200 s later
DAY = 86_400.0


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "\N{EN DASH}"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (48_213, "48.2 kB"), (162 * 10**9, "162 GB")],
)
def test_sizes_have_a_unit(number: int | None, text: str) -> None:
    assert size(number) == text


def test_a_moment_says_only_what_differs_from_now() -> None:
    assert moment(NOW - 60, NOW) == iso(NOW - 60)[11:16]
    assert moment(NOW - 2 * DAY, NOW) == "21 Nov " + iso(NOW)[11:16]
    assert moment(NOW - 400 * DAY, NOW).startswith("19 Oct 2025 ")
    assert day(NOW) == "23 Nov" == day(NOW + 4200)
    assert moment(None, NOW) == "\N{EN DASH}"


def test_every_state_has_a_look_of_its_own() -> None:
    words = ["passed", "fixed", "new-failure", "still-failing", "timed-out", "inconclusive"]
    for state in (*words, *Outcome, *CaseOutcome, *JobState):
        if state != JobState.DONE:  # a job that is done is shown by its verdict
            assert look(state).glyph not in ("?", ""), state


def test_a_plugins_verdict_is_shown_by_its_own_name_and_colour() -> None:
    shown = look("slower-than-ever", "red")
    assert (shown.glyph, shown.word, shown.colour) == ("✗", "slower than ever", "bad")
    assert look("odd", "purple").colour == "off"
