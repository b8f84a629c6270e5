# SPDX-License-Identifier: Apache-2.0
"""What runs in the modules' own Python: an older one can read it, and it is of the standard library alone."""

import ast
import sys
from pathlib import Path

import pytest

from allotment_promises.modules import slapos_host

FILES = sorted(Path(slapos_host.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_python_3_9_can_read_it_and_it_needs_no_distribution(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    is_empty = not [node for node in tree.body if not isinstance(node, ast.Expr)]
    assert is_empty or "from __future__ import annotations" in path.read_text()
