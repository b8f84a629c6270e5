# SPDX-License-Identifier: Apache-2.0
"""The promise types of all plugins, imported; makes the object for a promise file."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.errors import AllotmentError, PluginError, nearest
from allotment.hookspecs import PromiseType
from allotment.options import OptionProblem, parse_options
from allotment.plugins import Plugins, load
from allotment_promises.catalogue import FOLDER, Promise
from allotment_promises.executable import Executable
from allotment_promises.executable import Options as ExecutableOptions
from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.modules.module import Module
from allotment_promises.modules.module import Options as ModuleOptions


@dataclass(frozen=True)
class Traits:
    """What a promise's type and its file, which comes first, say of it."""

    layer: Layer
    only: str  # the one phase in which it runs; empty: both
    failures: int
    window: int
    over: float  # seconds
    period: float  # seconds between two runs in operation
    timeout: float  # seconds after which a run counts as failed


_KINDS: dict[str, type[GenericPromise[Any]]] = {"executable": Executable, "module": Module}


class PromiseTypes:
    """Every promise type, imported once; one that can't be imported is an error only for those who use it."""

    def __init__(self, plugins: Plugins) -> None:
        self._types: dict[str, type[GenericPromise[Any]]] = {}
        self._problems: dict[str, str] = {}
        for found in plugins.contributions("allotment_promise_types"):
            item: PromiseType = found.item
            try:
                self._types[item.name] = _load(item)
            except Exception as error:  # other people's code: whatever it raises concerns only this type
                self._problems[item.name] = (
                    f"promise type '{item.name}' of {found.origin.distribution} {found.origin.version}"
                    f" can't be used: {str(error).rstrip('.')}"
                )
        self._broken = tuple(str(broken) for broken in plugins.broken)

    def make(self, promise: Promise, partition: Path) -> GenericPromise[Any]:
        """Return the object that runs ``promise``; what is wrong with its file is an AllotmentError that names it."""
        if promise.problem:
            raise AllotmentError(promise.problem.rstrip("."))
        if promise.kind == "executable":
            options: Any = ExecutableOptions(promise.path, self.traits(promise).timeout)
            return Executable(options, partition, promise.name)
        if promise.kind == "module":
            return Module(ModuleOptions(promise.path, self.traits(promise).timeout), partition, promise.name)
        place = FOLDER / promise.path.name
        cls = self._find(promise.file.type, str(place))
        try:
            options = parse_options(sys.modules[cls.__module__].Options, promise.file.options)
        except OptionProblem as error:
            raise AllotmentError(f"{place}: {error.what}", error.fix) from error
        made = cls(options, partition, promise.name)
        made.count(promise.file.failures, promise.file.window, promise.file.over)
        return made

    def traits(self, promise: Promise) -> Traits:
        """Return what holds for ``promise`` without making its object; one that can't be made has the defaults."""
        cls = _KINDS.get(promise.kind) or self._types.get(promise.file.type) or GenericPromise
        file = promise.file
        failures = file.failures or cls.failures
        window = max(file.window or cls.window, failures)
        sensor = self._types.get(str(file.options.get(cls.sensor_option, "")))
        return Traits(
            (sensor or cls).layer, file.only or cls.only, failures, window, file.over or cls.over,
            file.period or cls.period, file.timeout or cls.timeout,
        )  # fmt: skip

    def _find(self, name: str, place: str) -> type[GenericPromise[Any]]:
        if name in self._types:
            return self._types[name]
        if name in self._problems:
            raise AllotmentError(f"{place}: {self._problems[name]}", "Mend or update the plugin")
        hint = nearest(name, tuple(self._types))
        broken = "".join(f"; {text}" for text in self._broken)  # the type may be in one of these
        raise AllotmentError(f"{place}: unknown promise type '{name}'{broken}", hint)


def period_of(promise: Promise, plugins: Plugins) -> float:
    """Return the seconds between two runs of ``promise``, importing no other type than its own."""
    items = (found.item for found in plugins.contributions("allotment_promise_types"))
    item = next((item for item in items if item.name == promise.file.type), None)
    if promise.file.period or item is None or promise.kind != "file":
        return promise.file.period or GenericPromise.period
    try:
        return _load(item).period
    except Exception:  # other people's code: running the promise says what is wrong
        return GenericPromise.period


def _load(item: PromiseType) -> type[GenericPromise[Any]]:
    cls = load(item.target)
    if not (isinstance(cls, type) and issubclass(cls, GenericPromise)):
        raise PluginError(f"{item.target} is not a GenericPromise", "Derive it from allotment_promises.GenericPromise")
    if not hasattr(sys.modules[cls.__module__], "Options"):
        raise PluginError(f"{cls.__module__} has no Options", "Put a dataclass of this name beside the promise")
    return cls
