# SPDX-License-Identifier: Apache-2.0
"""Output of monitoring plugins: text, performance data in base units; anything else stays text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises import Metric
from allotment_promises.nagios import parse, performance_data


def test_text_and_performance_data_of_all_lines() -> None:
    found = parse(
        "DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968\n"
        "/ 15272 MB (77%);\n"
        "/boot 68 MB (69%); | /boot=68MB;88;93;0;98\n"
        "'/var log'=818MB;970;975;0;980\n"
    )
    assert found.text == "DISK OK - free space: / 3326 MB (56%);\n/ 15272 MB (77%);\n/boot 68 MB (69%);"
    assert found.metrics == {"/": Metric(2.643e9, "B"), "/boot": Metric(68e6, "B"), "/var log": Metric(818e6, "B")}
    assert found.is_nagios


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        ("rta=0.5ms;100;200;0", {"rta": Metric(0.0005, "s")}),
        ("a=2us b=3ns c=4s", {"a": Metric(2e-6, "s"), "b": Metric(3 * 1e-9, "s"), "c": Metric(4.0, "s")}),
        ("pl=20%;;;0;100", {"pl": Metric(0.2, "1")}),
        ("a=2KB b=2KiB c=2kB", {"a": Metric(2e3, "B"), "b": Metric(2048.0, "B"), "c": Metric(2e3, "B")}),
        ("in=123456c", {"in": Metric(123456.0)}),
        ("load1=4.70;5:;@10:20;~:3", None),  # a minimum is no range
        ("load1=4.70;5:;@10:20;0;", {"load1": Metric(4.7)}),
        ("temp=-3.5C;~:30", {"temp": Metric(-3.5, "C")}),
        ("'it''s here'=1", {"it's here": Metric(1.0)}),
        ("gone=U;1;2 here=1", {"here": Metric(1.0)}),
        ("big=1e999", {}),
        ("", {}),
        ("time=1,5s", None),
        ("time = 5", None),
        ("a=1, b=2", None),
        ("a=nan", None),
        ("a=", None),
        ("=1", None),
        ("a=1|b=2", None),
        ("'a=1", None),
        ("a=1;2;3;4;5;6", None),
        ("a=\N{ARABIC-INDIC DIGIT FIVE}", None),
    ],
)  # fmt: skip
def test_performance_data(text: str, metrics: dict[str, Metric] | None) -> None:
    assert performance_data(text) == metrics


@pytest.mark.parametrize(
    "output",
    ["", "fine", "a | b", "name | state\nweb | up", "x |", "see http://a/?b=1", "one\ntwo | three\nfour=5"],
)
def test_what_is_no_performance_data_stays_text(output: str) -> None:
    found = parse(output)
    assert (found.text, found.metrics, found.is_nagios) == (output, {}, False)


def test_a_table_in_the_long_text_leaves_the_first_line_understood() -> None:
    found = parse("WARNING | a=1\nname | state\n")
    assert (found.text, found.metrics) == ("WARNING\nname | state", {"a": Metric(1.0)})


LABELS = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), min_size=1)
VALUES = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(LABELS, VALUES))
def test_what_is_written_is_read(metrics: dict[str, float]) -> None:
    quoted = " ".join("'" + label.replace("'", "''") + f"'={value!r}c;;;;" for label, value in metrics.items())
    assert performance_data(quoted) == {label: Metric(value) for label, value in metrics.items()}


@given(st.text() | st.text(alphabet="a'=1.;|@:~ %B\nU", max_size=60))
def test_text_is_cut_only_where_metrics_are(output: str) -> None:
    found = parse(output)
    if found.metrics:
        assert all(line.rstrip() in output for line in found.text.split("\n"))
    else:
        assert found.text == output.strip()


def test_a_full_output_that_is_nearly_right_is_read_in_no_time() -> None:
    assert performance_data("a=" + "1" * 65536 + "x" * 11) is None
    assert performance_data("'" + "''" * 32768) is None
    assert performance_data("a=1 " * 16384 + "b") is None
