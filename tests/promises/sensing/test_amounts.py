# SPDX-License-Identifier: Apache-2.0
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.options import OptionProblem
from allotment_promises.sensing.amounts import Amount, parse_amount, show_amount, show_bytes, show_count, show_seconds


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("10 %", Amount(0.1, is_share=True)),
        ("100%", Amount(1.0, is_share=True)),
        ("500M", Amount(500 * 1024**2)),
        (" 1.5 GiB ", Amount(1.5 * 1024**3)),
        ("2TB", Amount(2 * 1024**4)),
        ("7B", Amount(7)),
        ("0", Amount(0)),
    ],
)
def test_amounts_are_bytes_or_shares(text: str, amount: Amount) -> None:
    assert parse_amount("threshold", text) == amount


def test_things_that_are_counted_have_no_unit() -> None:
    assert parse_amount("inodes", "1000", is_count=True) == Amount(1000)
    assert show_amount(Amount(1000), is_count=True) == "1,000"


@pytest.mark.parametrize(
    ("text", "is_count", "message"),
    [
        ("5", False, "threshold: '5' has no unit. Write it like 5M or 5G."),
        ("5M", True, "threshold: '5M' has a unit. Write a number, or a share like 10 %."),
        ("much", False, "threshold: 'much' is no amount. Write it like 500M or 10 %."),
        ("-1", True, "threshold: '-1' is no amount. Write it like 1000 or 10 %."),
        ("101 %", False, "threshold: '101 %' is more than all. Write at most 100 %."),
    ],
)
def test_other_texts_are_refused_with_what_to_write(text: str, is_count: bool, message: str) -> None:
    with pytest.raises(OptionProblem) as caught:
        parse_amount("threshold", text, is_count=is_count)
    assert str(caught.value) == message


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_an_option_problem(text: str) -> None:
    with contextlib.suppress(OptionProblem):
        assert parse_amount("threshold", text).of(100) >= 0


def test_numbers_are_shown_for_people() -> None:
    assert [show_bytes(1023), show_bytes(-2048), show_bytes(3.25 * 1024**3), show_bytes(1024**5)] == [
        "1023 B",
        "-2.0 KiB",
        "3.2 GiB",
        "1024.0 TiB",
    ]
    assert [show_seconds(0.25), show_seconds(90), show_seconds(3600), show_seconds(86400), show_seconds(259200)] == [
        "0.25 s",
        "90 s",
        "60.0 min",
        "24.0 h",
        "3.0 days",
    ]
    assert [show_count(1, "file"), show_count(2000, "file"), show_count(0, "process", "processes")] == [
        "1 file",
        "2,000 files",
        "0 processes",
    ]
