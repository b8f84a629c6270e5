# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment_testfarm.testnode import sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2_000_000_000), ("512 MB", 512_000_000), ("1.5GiB", 3 << 29), ("0", 0), ("100B", 100), ("7k", 7000)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert sizes.parse(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "2X", "1e9", "2 G B", "1.2.3M"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(AllotmentError) as caught:
        sizes.parse(text)
    assert str(caught.value) == f"{text!r} is no size. Write it like 2G, 512M or 1.5GiB."


@given(st.integers(0, 10**15))
def test_what_is_shown_can_be_read_and_is_near(size: int) -> None:
    assert sizes.parse(sizes.shown(size)) == pytest.approx(size, rel=0.05)
