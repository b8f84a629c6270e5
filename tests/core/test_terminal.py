# SPDX-License-Identifier: Apache-2.0
import pytest

from allotment.terminal import ago, duration, plain, table

NOW = 1_795_407_600.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (-1.0, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (185.0, "3 min 5 s"),
        (3599.6, "1 h"),
        (7800.0, "2 h 10 min"),
        (2 * DAY, "2 days"),
        (7.1 * DAY, "7 days 2 h"),
    ],
)
def test_durations_are_short_and_never_negative(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_ago_counts_in_one_unit() -> None:
    assert [ago(NOW - seconds, NOW) for seconds in (-5, 1, 12, 200, 7300, DAY, 3 * DAY)] == [
        "now",
        "now",
        "12 s ago",
        "3 min ago",
        "2 h ago",
        "1 day ago",
        "3 days ago",
    ]
    assert ago(None, NOW) == "never"


def test_a_table_has_columns_or_says_that_it_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    table([("NAME", "STATE"), ("a-long-name", "up"), ("b", "")], "nothing")
    table([("NAME", "STATE")], "nothing")
    assert capsys.readouterr().out == "NAME         STATE\na-long-name  up\nb\nnothing\n"


def test_what_would_command_a_terminal_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("a\tb") == "a    b"
    assert plain("\x1b]0;x\x07\r\n\x9b2J\ud800é") == "\ufffd]0;x\ufffd\ufffd\ufffd\ufffd2J\ufffdé"
    table([("NAME", "STATE"), ("a\x07\n", "up")], "nothing")
    assert capsys.readouterr().out == "NAME  STATE\na\ufffd\ufffd   up\n"
