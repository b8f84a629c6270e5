# SPDX-License-Identifier: Apache-2.0
"""The plugin manager: built-ins from one explicit list, third parties by entry point, broken ones reported."""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import typing
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
        self._origins: dict[str, Origin] = {}  # by the name that pluggy knows the plugin by, in calling order
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
        name = f"{origin.distribution}:{origin.plugin}"
        if name in self._origins:
            self._break(origin, "ValueError: its distribution is installed twice; remove one of the two")
            return
        try:
            self._manager.register(load(), name=name)
            self._manager.check_pending()
        except (Exception, SystemExit) as error:  # a plugin may fail in any way, and must not take the others along
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            self._break(origin, f"{type(error).__name__}: {error}")
        else:
            self._origins[name] = origin

    def _break(self, origin: Origin, reason: str) -> None:
        broken = BrokenPlugin(origin, reason)
        if broken not in self.broken:
            self.broken.append(broken)
            _log.warning("%s", broken)

    def contributions(self, hook: str) -> list[Contribution]:
        """Return what every plugin returns for ``hook``, in calling order.

        A plugin that raises, or returns what is not the hook's item, becomes broken. Of two items of one name the
        first is kept and the other is reported; its plugin's other items stay.
        """
        implementations = {
            item.plugin_name: item.function for item in getattr(self._manager.hook, hook).get_hookimpls()
        }
        expected = _item_type(hook)
        found: list[Contribution] = []
        for name, origin in list(self._origins.items()):
            if name not in implementations:
                continue
            try:
                items = [_checked(item, expected) for item in implementations[name]()]
            except (Exception, SystemExit) as error:  # as above: reported, and all others go on
                self._manager.unregister(name=name)
                del self._origins[name]
                self._break(origin, f"{type(error).__name__}: {error}")
                continue
            for item in items:
                self._add(found, Contribution(origin, item))
        return found

    def _add(self, found: list[Contribution], new: Contribution) -> None:
        for other in found:
            if _clash(other.item, new.item):
                what = type(new.item).__name__
                name = " ".join(_key(new.item))
                reason = f"its {what} '{name}' is taken by plugin {other.origin.plugin} of {other.origin.distribution}"
                self._break(new.origin, reason)
                return
        found.append(new)

    def items(self, hook: str) -> list[Any]:
        """Return only the items of :meth:`contributions`."""
        return [contribution.item for contribution in self.contributions(hook)]

    def named(self, hook: str, name: str, what: str) -> Any:
        """Return the item called ``name``; an unknown name is an error that suggests the nearest."""
        items = {item.name: item for item in self.items(hook)}
        if name not in items:
            raise PluginError(f"unknown {what} '{name}'", nearest(name, tuple(items)))
        return items[name]


def _item_type(hook: str) -> Any:
    """Return the class whose instances ``hook`` lists, from its specification."""
    (expected,) = typing.get_args(typing.get_type_hints(getattr(hookspecs, hook))["return"])
    return expected


def _checked(item: Any, expected: Any) -> Any:
    if not isinstance(item, expected):
        raise TypeError(f"{item!r} is not a {expected.__name__}")
    return item


def _key(item: Any) -> tuple[str, ...]:
    """Return the words that name an item among those of its hook."""
    if isinstance(item, hookspecs.Command):
        return item.path
    if isinstance(item, hookspecs.RecipeType):
        return (f"{item.distribution}:{item.name}",)
    return (item.key,) if isinstance(item, hookspecs.AllocationTerm) else (item.name,)


def _clash(one: Any, other: Any) -> bool:
    """Return whether two items can't both be: the same name, or a command where the other wants a group."""
    shorter, longer = sorted((_key(one), _key(other)), key=len)
    return longer[: len(shorter)] == shorter


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
