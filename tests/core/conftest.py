# SPDX-License-Identifier: Apache-2.0
"""Fixtures: values of any message type, entry points that no distribution installed, plugins on PYTHONPATH."""

import contextlib
import dataclasses
import enum
import os
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from allotment.secret import KEY, Secret

_KEYS = st.text(max_size=6)
_JSON_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
    st.builds(Secret, st.text(max_size=10)),
)
JSON = st.recursive(
    _JSON_LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS.filter(KEY.__ne__), inner, max_size=3)),
    max_leaves=6,
)
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON,
    str: st.text(max_size=10),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    Secret: st.builds(Secret, st.text(max_size=10)),
}


def _values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a field's type."""
    origin = typing.get_origin(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if origin in (typing.Union, types.UnionType):
        return st.one_of(st.none(), *(_values(item) for item in typing.get_args(kind) if item is not type(None)))
    if origin is tuple:
        return st.lists(_values(typing.get_args(kind)[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(_KEYS, _values(typing.get_args(kind)[1]), max_size=2)
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    return _objects(kind)


def _objects(cls: type) -> st.SearchStrategy[Any]:
    """Return a strategy for a message class; combinations that its own check refuses are passed over."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: _values(hints[field.name]) for field in dataclasses.fields(cls)}

    def make(values: dict[str, Any]) -> Any:
        # The second try is for seconds, of which most messages refuse negative ones.
        for given in (values, {key: abs(value) if type(value) is float else value for key, value in values.items()}):
            with contextlib.suppress(ValueError):
                return cls(**given)
        return None

    return st.fixed_dictionaries(fields).map(make).filter(lambda made: made is not None)


@pytest.fixture(scope="session")
def values() -> Callable[[Any], st.SearchStrategy[Any]]:
    """Make a hypothesis strategy for any type that messages use."""
    return _values


@dataclass(frozen=True)
class _Distribution:
    name: str
    version: str = "1.0"


@dataclass(frozen=True)
class _EntryPoint:
    name: str
    dist: _Distribution
    load: Callable[[], Any]


@pytest.fixture
def entry_point() -> Callable[..., Any]:
    """Make an entry point whose plugin is the keyword arguments: hook -> the items that it returns."""

    def make(name: str, distribution: str = "other", load: Callable[[], Any] | None = None, **hooks: Any) -> Any:
        from allotment.hookspecs import hookimpl

        plugin = types.SimpleNamespace(
            **{hook: hookimpl(items if callable(items) else lambda items=items: items) for hook, items in hooks.items()}
        )
        return _EntryPoint(name, _Distribution(distribution), load or (lambda: plugin))

    return make


@pytest.fixture
def allot(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run ``allot`` with a plugin whose module has the text ``code``."""

    def run(*arguments: str, code: str = "") -> "subprocess.CompletedProcess[str]":
        info = tmp_path / "other-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[allotment]\nother = other_plugin\n")
        (tmp_path / "other_plugin.py").write_text(code)
        paths = [str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "allotment", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run
