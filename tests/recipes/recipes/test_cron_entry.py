# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""The recipe ``cron.entry``: what it writes is what the daemon reads."""

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allotment.errors import AllotmentError
from allotment_recipes.crontab import Job, Schedule, read_entries, read_schedule
from allotment_recipes.recipes import cron_entry

Make = Callable[..., Any]


def written(make_recipe: Make, **options: str) -> Job:
    (path,) = make_recipe(
        cron_entry.Recipe, {name.replace("_", "-"): value for name, value in options.items()}
    ).install()
    (job,) = read_entries(path.name, path.read_text())
    assert isinstance(job, Job)
    return job


@pytest.mark.parametrize("option", ["frequency", "time"])
@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("*/5 * * * *", Schedule("*/5 * * * *")),
        ("  30  2 * * mon-fri ", Schedule("30 2 * * mon-fri")),
        ("@weekly", Schedule("0 0 * * 0")),
        ("hourly", Schedule("hourly", is_calendar=True)),
        ("Mon..Fri *-*-* 10:00 Europe/Paris", Schedule("Mon..Fri *-*-* 10:00 Europe/Paris", is_calendar=True)),
    ],
)
def test_both_syntaxes_are_taken_in_both_options(make_recipe: Make, option: str, text: str, schedule: Schedule) -> None:
    assert written(make_recipe, command="date '+%s' \"$X\"", **{option: text}) == Job(
        "part", schedule, "date '+%s' \"$X\""
    )


def test_each_option_reaches_the_job(make_recipe: Make, tmp_path: Path) -> None:
    options = {
        "name": "dump",
        "frequency": "@daily",
        "command": "true",
        "time-zone": "Asia/Tokyo",
        "environment": "A = 'one' \"two\"\nB=",
        "cron-entries": "jobs",
    }
    made = make_recipe(cron_entry.Recipe, options)
    assert made.install() == [tmp_path / "jobs/dump"] == made.update()
    assert made.raw["schedule"] == "0 0 * * *"
    variables = (("A", "'one' \"two\""), ("B", ""))
    assert list(read_entries("dump", (tmp_path / "jobs/dump").read_text())) == [
        Job("dump", Schedule("0 0 * * *"), "true", variables, "Asia/Tokyo")
    ]


def test_once_a_day_is_stable_and_differs_between_instances() -> None:
    for word, fields in (("once-an-hour", 1), ("once-a-day", 2), ("once-a-week", 3), ("once-a-month", 3)):
        texts = [read_schedule(word, f"instance-{number} dump").text for number in range(50)]
        assert texts[7] == read_schedule(word, "instance-7 dump").text
        assert len(set(texts)) > 20
        assert all(sum(field.isdigit() for field in text.split()) == fields for text in texts)
        assert all(read_schedule(text).text == text for text in texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "true"}, "[part] frequency, time: none of them is given. Give one of them."),
        ({"command": "true", "time": "daily", "frequency": "@daily"}, "[part] frequency, time: frequency and time can't go together. Give one of them."),
        ({"frequency": "@daily"}, "[part] command: missing option. Add 'command = ...'."),
        ({"frequency": "@daily", "command": " "}, "[part] command: is not one line of text. Write more than one line to a script."),
        ({"frequency": "@daily", "command": "a\nb"}, "[part] command: is not one line of text."),
        ({"frequency": "@daily", "command": "a", "name": "a/b"}, "[part] name: 'a/b' is not a job's name. Use letters, digits, '-', '.', '_'."),
        ({"frequency": "@daily", "command": "a", "time-zone": "X"}, "[part] time-zone: 'X' is not a time zone such as Europe/Paris."),
        ({"frequency": "61 * * * *", "command": "a"}, "[part] frequency: '61 * * * *' is not cron's: bad minute. Write it like 30 2 * * *, or like Mon..Fri 10:00."),
        ({"time": "*:*/5", "command": "a"}, "[part] time: '*:*/5' is neither five fields of cron nor a calendar event: '*/5' is not a minute"),
        ({"frequency": "@daily", "command": "a", "environment": "CRON_TZ=x"}, "[part] environment: CRON_TZ is a time zone. Write it to time-zone."),
        ({"frequency": "@daily", "command": "a", "environment": "nothing"}, "[part] environment: there is no section 'nothing'."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)):
        make_recipe(cron_entry.Recipe, options)


PROFILE = """\
    [buildout]
    parts = {parts}

    [slap-configuration]
    recipe = allotment.recipes:slapconfiguration

    [password]
    recipe = allotment.recipes:password
    file = etc/password

    [job]
    recipe = allotment.recipes:cron.entry
    time = once-a-day
    command = {command}
    environment = PASSWORD=${{password:password}}
"""


def test_a_secret_goes_to_a_private_file_never_on_the_command_line_and_the_job_goes_with_its_part(
    partition: Any,
) -> None:
    result = partition.run(PROFILE.format(parts="job", command="echo ${password:password}"))
    assert "[job] command: holds a secret" in result.error
    assert partition.run(PROFILE.format(parts="job", command="true")).outcome == "done"
    path = partition.folder / "etc/cron.d/job"
    value = (partition.folder / "etc/password").read_text().strip()
    (job,) = read_entries("job", path.read_text())
    assert isinstance(job, Job)
    assert job.environment == (("PASSWORD", value),)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert value not in (partition.folder / ".installed.cfg").read_text()
    assert partition.run(PROFILE.format(parts="password", command="true")).outcome == "done"
    assert not path.exists()
