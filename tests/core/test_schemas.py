# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allotment.codec import SCHEMAS, encode, messages
from allotment.schemas import generate, write

NAMES = sorted(name for name, cls in messages().items() if cls.__module__.startswith("allotment.messages."))


def test_committed_schemas_are_those_of_the_messages() -> None:
    committed = {path.name: path.read_text() for path in SCHEMAS.glob("*.json")}
    assert committed == dict(generate()), "run: python -m allotment.schemas"
    assert set(committed) == {f"{name}.json" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_messages_fit_their_schema(
    name: str, values: Callable[[Any], st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(encode(data.draw(values(messages()[name]))))


@pytest.mark.parametrize("name", NAMES)
def test_schema_refuses_other_formats_and_unknown_fields(name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["format"] == {"const": 1}
    assert "format" in schema["required"]
    assert schema["description"]


def test_writing_again_changes_nothing_and_drops_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    assert write(tmp_path) == ["gone.json", *generate()]
    assert write(tmp_path) == []
