# SPDX-License-Identifier: Apache-2.0
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.messages.promise_states import MetricState, PromiseState, PromiseStates
from allotment_node.monitor.prometheus import metric_name, text

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^\\"\n]|\\\\|\\"|\\n)*"'
_SAMPLE = re.compile(rf"({_NAME})\{{({_LABEL}(?:,{_LABEL})*)\}} (\S+)")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse(data: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return samples by name; strictly by the grammar of the text format 0.0.4, in families, each sample once."""
    assert data.endswith("\n") or not data
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    family, lines = "", data.split("\n")[:-1]
    for number, line in enumerate(lines):
        if line.startswith("# HELP "):
            match = re.fullmatch(rf"# HELP ({_NAME}) ((?:[^\\\n]|\\\\|\\n)*)", line)
            assert match, line
            family = match[1]
            assert family not in found, "a family is there twice"
            assert lines[number + 1] == f"# TYPE {family} gauge"
            found[family] = []
        elif not line.startswith("# TYPE "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == family, "a sample outside of its family"
            labels = [item.partition("=") for item in re.findall(_LABEL, match[2])]
            values = {key: re.sub(r"\\.", lambda it: _ESCAPES[it[0]], value[1:-1]) for key, _, value in labels}
            assert all(values != other for other, _ in found[family]), "a sample is there twice"
            found[family].append((values, float(match[3])))
    return found


def test_promises_and_their_metrics_are_samples(states: PromiseStates, hostile: str) -> None:
    found = parse(text(states))
    page = {"node": "node-1", "partition": "part0", "instance": "hello", "promise": "page"}
    other = {"node": "node-1", "partition": "part0", "instance": hostile, "promise": hostile}
    assert found["allotment_promise_passed"] == [(page, 1.0), (other, 0.0)]
    assert found["allotment_promise_error"] == [(page, 0.0), (other, 1.0)]
    assert found["allotment_promise_silenced"] == [(page, 1.0), (other, 0.0)]
    assert found["allotment_promise_changed_timestamp_seconds"][0] == (page, 1.0)
    assert found["allotment_promise_run_timestamp_seconds"][0] == (page, 2.5)
    assert found["allotment_promise_run_duration_seconds"][0] == (page, 0.5)
    assert found["allotment_promise_metric_seconds"] == [(page, 0.25)]
    assert found["allotment_promise_metric_free_bytes"] == [(page, 1e12)]
    assert found["allotment_promise_metric_hits"] == [(page, 3.0), (other, 4.0)]
    assert len(found) == 10


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("latency", "s", "latency_seconds"),
        ("latency_seconds", "s", "latency_seconds"),
        ("seconds", "s", "seconds"),
        ("used", "1", "used_ratio"),
        ("lines", "1/s", "lines_per_second"),
        ("cpu-temp", "degC", "cpu_temp_celsius"),
        ("load", "", "load"),
        ("rate", "kB/s", "rate_kB_s"),
        ("/var", "%", "var_percent"),
        ("☃", "☃", "unnamed"),
    ],
)
def test_names_end_with_the_unit(name: str, unit: str, expected: str) -> None:
    assert metric_name(name, unit) == f"allotment_promise_metric_{expected}"


@given(
    st.lists(
        st.tuples(st.text(), st.text(), st.dictionaries(st.text(), st.tuples(st.floats(), st.text(max_size=5)))),
        unique_by=lambda item: item[0],
        max_size=4,
    )
)
def test_whatever_promises_are_called_the_text_is_well_formed(
    promises: list[tuple[str, str, dict[str, tuple[float, str]]]],
) -> None:
    found = parse(
        text(
            PromiseStates(
                "n",
                0.0,
                tuple(
                    PromiseState(
                        "part0",
                        instance,
                        name,
                        "passed",
                        0.0,
                        "",
                        0.0,
                        0.0,
                        {k: MetricState(*v) for k, v in some.items()},
                    )
                    for name, instance, some in promises
                ),
            )
        )
    )
    assert {labels["promise"] for labels, _ in found["allotment_promise_passed"]} == {name for name, _, _ in promises}
    assert all(not math.isnan(value) for _, value in found["allotment_promise_passed"])
