# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from allotment_promises.sensing.counters import growth


def test_growth_is_since_the_first_point() -> None:
    assert growth([(100.0, 5.0), (160.0, 25.0)], 220.0, 65.0) == (60.0, 120.0)


def test_counter_that_began_again_counts_from_zero() -> None:
    assert growth([(100.0, 1000.0), (160.0, 30.0)], 220.0, 40.0) == (40.0, 120.0)


def test_nothing_is_known_without_a_past() -> None:
    assert growth([], 100.0, 5.0) is None
    assert growth([(100.0, 5.0)], 100.0, 6.0) is None
    assert growth([(100.0, 5.0)], 40.0, 6.0) is None, "the clock went back"


@given(st.lists(st.integers(0, 1 << 40).map(float), min_size=2, max_size=20))
def test_growth_is_never_negative(values: list[float]) -> None:
    points = [(float(at), value) for at, value in enumerate(values)]
    found = growth(points[:-1], *points[-1])
    assert found is not None
    assert found[0] >= 0
