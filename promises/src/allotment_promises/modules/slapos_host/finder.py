# SPDX-License-Identifier: Apache-2.0
"""Puts ready-made modules among those of the eggs, without a file and whatever namespace packages there are."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

Maker = Callable[[], Mapping[str, object]]  # makes what a module holds, when it is imported


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules it was given by name; None in place of a maker is an empty package."""

    def __init__(self, modules: Mapping[str, Maker | None]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._modules:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=self._modules[fullname] is None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None  # an ordinary one

    def exec_module(self, module: ModuleType) -> None:
        maker = self._modules[module.__name__]
        if maker is not None:
            vars(module).update(maker())


def install(ours: Mapping[str, Maker | None], substitutes: Mapping[str, Maker | None]) -> None:
    """Find ``ours`` before what the eggs have, ``substitutes`` where no egg has a module of the name."""
    sys.modules.pop("slapos", None)  # the one of this Python's own packages: the eggs' paths come first
    sys.meta_path.insert(0, Finder(ours))
    sys.meta_path.append(Finder(substitutes))
