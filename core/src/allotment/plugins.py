# SPDX-License-Identifier: Apache-2.0
"""The plugin manager: built-ins from one explicit list, third parties by entry point, broken ones reported."""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from allotment import __version__, hookspecs
from allotment.errors import PluginError, nearest

ENTRY_POINT_GROUP = "allotment"
# In calling order. A distribution that is not installed is passed over: a recipes-only install has no master.
BUILTIN = (
    "allotment.builtin",
    "allotment_recipes.plugin",
    "allotment_promises.plugin",
    "allotment_node.plugin",
    "allotment_master.plugin",
    "allotment_testfarm.plugin",
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from."""

    plugin: str  # entry point's name, or module of a built-in
    distribution: str
    version: str


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that was passed over, and why."""

    origin: Origin
    reason: str

    def __str__(self) -> str:
        return (
            f"plugin {self.origin.plugin} of {self.origin.distribution} {self.origin.version} is broken: {self.reason}"
        )


@dataclass(frozen=True)
class Contribution:
    """One thing that a plugin offers through a hook."""

    origin: Origin
    item: Any


class Plugins:
    """The loaded plugins; ask :func:`plugins` for the process's own."""

    def __init__(self, builtin: Iterable[str] = BUILTIN, entry_points: Iterable[Any] | None = None) -> None:
        self.broken: list[BrokenPlugin] = []
        self._manager = pluggy.PluginManager("allotment")
        self._manager.add_hookspecs(hookspecs)
        self._origins: dict[str, Origin] = {}
        for module in builtin:
            self._load_builtin(module)
        found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points is None else entry_points
        for entry_point in sorted(found, key=lambda point: str(point.name)):
            dist = entry_point.dist
            origin = Origin(entry_point.name, dist.name if dist else "?", dist.version if dist else "?")
            self._register(origin, entry_point.load)

    def _load_builtin(self, module: str) -> None:
        package = module.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            return
        origin = Origin(module, package.replace("_", "."), __version__)
        self._register(origin, lambda: importlib.import_module(module))

    def _register(self, origin: Origin, load: Callable[[], Any]) -> None:
        try:
            plugin = load()
            self._manager.register(plugin, name=origin.plugin)
            self._manager.check_pending()
        except Exception as error:  # a plugin may fail in any way, and must not take the others along
            self._manager.unregister(name=origin.plugin) if self._manager.has_plugin(origin.plugin) else None
            self._break(origin, error)
        else:
            self._origins[origin.plugin] = origin

    def _break(self, origin: Origin, error: Exception) -> None:
        broken = BrokenPlugin(origin, f"{type(error).__name__}: {error}")
        self.broken.append(broken)
        _log.warning("%s", broken)

    def contributions(self, hook: str) -> list[Contribution]:
        """Return what every plugin returns for ``hook``, in calling order; a plugin that raises becomes broken."""
        found: list[Contribution] = []
        caller = getattr(self._manager.hook, hook)
        for implementation in caller.get_hookimpls():
            origin = self._origins.get(implementation.plugin_name)
            if origin is None:
                continue
            try:
                found.extend(Contribution(origin, item) for item in implementation.function())
            except Exception as error:  # as above: reported, and all others go on
                self._manager.unregister(name=origin.plugin)
                del self._origins[origin.plugin]
                self._break(origin, error)
        broken = {item.origin for item in self.broken}
        return [item for item in self._ordered(found) if item.origin not in broken]

    def _ordered(self, found: list[Contribution]) -> list[Contribution]:
        order = {name: index for index, name in enumerate(self._origins)}
        return sorted(found, key=lambda item: order.get(item.origin.plugin, -1))

    def items(self, hook: str) -> list[Any]:
        """Return only the items of :meth:`contributions`."""
        return [contribution.item for contribution in self.contributions(hook)]

    def named(self, hook: str, name: str, what: str) -> Any:
        """Return the item called ``name``; an unknown name is an error that suggests the nearest."""
        items = {item.name: item for item in reversed(self.items(hook))}
        if name not in items:
            raise PluginError(f"unknown {what} '{name}'", nearest(name, tuple(items)))
        return items[name]


@functools.cache
def plugins() -> Plugins:
    """Return the plugins of this process, loaded at the first call."""
    return Plugins()


def load(target: str) -> Any:
    """Import ``"module:attribute"``; a name that is not there is a :class:`PluginError`."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"{target} can't be imported: {error}", "Install what it needs, or correct the name"
        ) from error
