# SPDX-License-Identifier: Apache-2.0
"""The page about the files names all that is in them."""

from pathlib import Path

from allotment.messages.promise_states import PromiseStates
from allotment_node.config import NodeConfig
from allotment_node.monitor import files, prometheus

PAGE = (Path(__file__).parents[3] / "docs/howto/watch-a-node.md").read_text()


def test_every_file_sample_and_unit_is_documented(states: PromiseStates) -> None:
    names = {line.split()[2] for line in prometheus.text(states).splitlines() if line.startswith("# TYPE")}
    fixed = {name for name in names if not name.startswith(prometheus.METRIC)}
    units = {unit for unit in prometheus.UNITS.values() if unit}
    wanted = {files.JSON, files.PROMETHEUS, files.RSS, f"{prometheus.METRIC}NAME_UNIT", *fixed, *units}
    assert {name for name in wanted if f"`{name}`" not in PAGE} == set()


def test_the_page_names_the_folder_as_it_is() -> None:
    assert f"`{NodeConfig('n', ('https://m.example',)).monitor_folder}`" in PAGE
