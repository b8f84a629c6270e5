# SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from allotment_promises.sensing.json_path import JsonPathProblem, find, number_of, shown

documents = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(documents, st.text())
def test_any_path_in_any_document_is_found_or_a_problem(document: Any, path: str) -> None:
    try:
        value = find(document, path)
    except JsonPathProblem as problem:
        assert str(problem)
        return
    number = number_of(value)
    assert number is None or math.isfinite(number)
    assert len(shown(value)) <= 200


@given(st.lists(st.text(alphabet="abc019", min_size=1), min_size=1, max_size=5), documents)
def test_what_keys_lead_to_is_found(keys: list[str], value: Any) -> None:
    document = value
    for key in reversed(keys):
        document = {key: document}
    assert find(document, "/".join(keys)) is value


def test_a_number_of_hundreds_of_digits_is_none() -> None:
    assert number_of(10**400) is None
    assert number_of(float("nan")) is None
