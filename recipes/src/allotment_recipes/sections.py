# SPDX-License-Identifier: Apache-2.0
"""The sections of a profile: upstream's ``Options``, subclassed, and what makes an alias' section one of ours."""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import zc.buildout.buildout as upstream

from allotment.options import OptionProblem
from allotment_recipes import recipe_loading, typed_options
from allotment_recipes.aliases import DISTRIBUTION, Alias, has, takes
from allotment_recipes.egg_lock import plain_name, plain_version
from allotment_recipes.option_error import OptionError, ProfileError
from allotment_recipes.profiles import BASE_LOCATION
from allotment_recipes.reader.macros import with_macros
from allotment_recipes.reader.substitute import substitute
from allotment_recipes.signatures import recipe_signature

SIGNATURE = "__buildout_signature__"  # option that tells when a part's recipe is another one
_REFERENCE_ALONE = re.compile(r"\$\{([^:}]*):([^}]+)\}")
_SECTION_NAME = "_buildout_section_name_"
LOCATION = "@@LOCATION@@"  # in an option: the part's own folder


class Options(upstream.Options):  # type: ignore[misc]  # zc.buildout has no types
    """A section: its recipe comes from what is installed, never from an index.

    A section whose recipe is an alias has the options of ours; those of theirs stay readable beside them.
    """

    _raw: dict[str, str]
    _cooked: dict[str, str]
    _data: dict[str, str]

    def __init__(self, buildout: Any, section: str, data: dict[str, str]) -> None:
        super().__init__(buildout, section, data)
        self._alias: Alias | None = None
        self._written: Mapping[str, str] = {}  # an alias' section as the profile writes it, by their names and by ours
        self._theirs: dict[str, str] = {}  # what an alias' section says, every reference resolved
        self._values: set[str] = set()  # options that a recipe has set to what is no text
        self.shows_theirs = False  # among the names: to other constructors, neither to its own nor to upstream's steps

    def _initialize(self) -> None:
        super()._initialize()
        self.get(BASE_LOCATION)  # read, so that it is not reported as unused

    def initialize(self) -> None:
        spec = self["recipe"]
        self._alias = recipe_loading.alias(spec)
        if self._alias is not None:
            spec = f"{DISTRIBUTION}:{self._alias.chosen(self)}"
        recipe_class = recipe_loading.load(self.name, spec)
        if self._alias is not None:
            self._translate(self._alias, spec, recipe_class)
        self.recipe = recipe_class(self.buildout, self.name, self)
        if self._alias is not None:
            if self._alias.is_pinned:
                self.buildout.lock.note(self.name, {**self._theirs, **self._data})
            self._show_theirs()

    def _recipe_class(self) -> type[Any]:
        """Return the recipe's class, also while the recipe is being made, or before."""
        if hasattr(self, "recipe"):
            return type(self.recipe)
        spec = self["recipe"]
        alias = recipe_loading.alias(spec)
        found: type[Any] = recipe_loading.load(self.name, f"{DISTRIBUTION}:{alias.chosen(self)}" if alias else spec)
        return found

    def _translate(self, alias: Alias, spec: str, recipe_class: type[Any]) -> None:
        """Let the recipe find its own options only; unknown ones are variables, as in any buildout."""
        self._written = {**self._raw, **{alias.renamed.get(option, option): text for option, text in self._raw.items()}}
        self._theirs = {**self._raw, **self._cooked}
        try:
            options = alias.translated({option: self._as_text(option) for option in self._theirs})
        except OptionProblem as problem:
            raise OptionError(self.name, problem) from problem
        if alias.is_built:
            folder = f"{self.buildout['buildout']['parts-directory']}/{self.name}"
            own = re.compile(rf"{re.escape(folder)}(?![-\w.+])")  # and not another part whose name begins like this
            options = {option: own.sub(LOCATION, text) for option, text in options.items()}
        if alias.has_eggs:
            self._pin_eggs(options, recipe_class)
        # Of inline Python an address may be for anything; with a checksum it is to be fetched.
        if has(recipe_class, "sha256sum") or (alias.is_pinned and options.get("md5sum", "").strip()):
            lines = [self._own_source(line.strip()) for line in options.get("patches", "").splitlines()]
            options |= {"patches": "\n".join(lines)} if lines else {}
            self.buildout.lock.complete(self.name, options)
        if options.get("revision", "").strip() and has(recipe_class, "revision"):
            repository = options.get("repository", "").strip()
            options["revision"] = self.buildout.lock.commit(self.name, repository, options["revision"].strip())
        for option in alias.dropped.keys() & self._theirs.keys():
            self.buildout.say_once(f"{self._theirs['recipe']}: {option} has no effect here: {alias.dropped[option]}")
        self._raw = {
            option: text for option, text in options.items() if option == BASE_LOCATION or takes(recipe_class, option)
        }
        self._raw["recipe"] = spec
        self._cooked, self._data = dict(self._raw), {}  # every reference is resolved

    def _as_text(self, option: str) -> str:
        """Return what an alias' section says; of values that are no texts, numbers and the like are made texts."""
        text = self._theirs[option]
        if not self.is_typed(option):
            return text
        try:
            value = typed_options.loads(text)
        except ValueError as error:
            raise OptionProblem(option, str(error), "Write it with dumps() in the template of the profile") from error
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, str | int | float) else text

    def _pin_eggs(self, options: dict[str, str], recipe_class: type[Any]) -> None:
        """Pin what ``[versions]`` pins by hash too, and add to ``eggs`` what these need."""
        buildout = self.buildout
        versions = {plain_name(egg): plain_version(text) for egg, text in buildout["versions"].items()}
        if has(recipe_class, "setup-eggs"):
            wanted = str(options.get("setup-eggs", "setuptools")).split()
            options["setup-eggs"] = "\n".join(self._pinned_wheels(wanted, versions))
        if has(recipe_class, "sha256sum"):
            egg = str(options.get("egg", self.name)).strip()
            version = versions.get(plain_name(egg), "")
            if version:
                buildout.pin_egg(egg, version, "")
                options.setdefault("sha256sum", buildout.lock.sdist(self.name, egg, version))
        if has(recipe_class, "eggs"):
            parts = [buildout[name] for name in buildout.parts_of(self.name)]
            built = {plain_name(part["egg"]) for part in parts if "egg" in part}
            listed = str(options.get("eggs", self.name)).split()
            if has(recipe_class, "script-eggs") and options.pop("dependent-scripts", "").strip() != "true":
                options["script-eggs"] = "\n".join(map(plain_name, listed))
            asked = [egg for egg in listed if plain_name(egg) not in built]
            wheels = self._pinned_wheels(asked, versions, built)
            options["eggs"] = "\n".join([*wheels, *sorted(built)])

    def _pinned_wheels(
        self, eggs: list[str], versions: Mapping[str, str], others: Collection[str] = ()
    ) -> dict[str, tuple[str, str]]:
        """Return the wheels of eggs and of what they need, but ``others``; they are pinned then."""
        wheels = self.buildout.lock.eggs(self.name, eggs, versions) if eggs else {}
        wheels = {name: wheel for name, wheel in wheels.items() if name not in others}
        for name, (version, sha256) in wheels.items():
            self.buildout.pin_egg(name, version, sha256)
        return wheels

    def _own_source(self, line: str) -> str:
        """Return a line of ``patches``; of a file that another part downloads, where that part has it from."""
        address = line.partition("#")[0]
        for name in self.buildout.parts_of(self.name):
            recipe = self.buildout[name].recipe
            if str(getattr(recipe, "target", "")) == address and recipe.source.urls:
                return f"{recipe.source.urls[0].removeprefix('file://')}#{recipe.source.sha256}"
        return line

    def _show_theirs(self) -> None:
        location = self._data.get("location")
        if location is not None:
            self._theirs = {option: text.replace(LOCATION, location) for option, text in self._theirs.items()}
        self.shows_theirs = True

    def is_typed(self, option: str) -> bool:
        """Whether the profile itself writes a value that is no text; a text of a parameter is one, however it looks."""
        owner, last = self._origin(option)
        return last in owner._values or typed_options.is_marked((owner._written or owner._raw).get(last, "").strip())

    def value(self, option: str) -> Any:
        """Return an option as inline Python reads it: what the profile marks as no text is what it stands for."""
        if not self.is_typed(option):
            return self[option]
        owner, last = self._origin(option)
        theirs = owner._alias is not None and last not in owner._values
        return typed_options.loads((owner._theirs if theirs else owner)[last])

    def is_json(self, option: str) -> bool:
        """Whether an option is JSON here, and a value that is no text where the section's recipe is from."""
        owner, last = self._origin(option)
        return owner._alias is not None and last in owner._alias.json

    def _origin(self, option: str) -> tuple["Options", str]:
        """Return where an option comes from that is written as a reference and nothing else."""
        reference = _REFERENCE_ALONE.fullmatch((self._written or self._raw).get(option, "").strip())
        if reference is None:
            return self, option
        owner: Options = self.buildout[reference[1]] if reference[1] else self
        return owner._origin(reference[2])

    def locked(self, url: str, md5: str) -> str:
        """Return the sha256 of what inline Python fetches by an MD5; nothing where profiles have to say it."""
        if self._alias is None or not self._alias.is_pinned or not md5:
            return ""
        return str(self.buildout.lock.source(self.name, url, md5))

    def __getitem__(self, option: str) -> Any:
        found = self._data.get(option)  # asked for again and again: each part's hash takes all options
        return super().__getitem__(option) if found is None else found

    def get(self, option: str, default: Any = None, seen: Any = None) -> Any:
        """Return an option; of an alias' section, also by the name that it has there."""
        if option in self._data:
            return self._data[option]
        if option in self._cooked:  # upstream resolves what comes out of a value again:
            self._data[option] = self._cooked[option]  # a parameter with a reference in it would read any option
        if seen and (self.name, option) in seen:
            circle = [f"${{{section}:{name}}}" for section, name in (*seen, (self.name, option))]
            raise ProfileError(
                f"[{seen[0][0]}] {seen[0][1]} refers to what refers back to it: {' -> '.join(circle)}",
                "Take one of these references out",
            )
        value = super().get(option, None, seen)
        if value is None and self._alias is not None:
            ours = self._alias.ours(option)
            value = super().get(ours, None, seen) if ours is not None else None
            value = self._theirs.get(option) if value is None else value
        if value is None and option == _SECTION_NAME:  # upstream would take the name of whoever refers to it
            return self.name
        if value is None and option == SIGNATURE and self._raw.get("recipe"):
            value = recipe_signature(self._recipe_class())
        return default if value is None else value

    def keys(self) -> list[str]:
        """Return the names of the options, as whoever asks may see them."""
        names: list[str] = super().keys()
        if self.shows_theirs:
            names += [option for option in self._theirs if option not in names]
        return names

    def _sub(self, template: str, seen: list[tuple[str, str]]) -> str:
        return substitute(self, template, seen)

    def __setitem__(self, option: str, value: Any) -> None:
        """Set an option; what is no text is kept as the text that stands for it in profiles."""
        self._values.discard(option)
        if not isinstance(value, str):
            value = typed_options.dumps(value)
            self._values.add(option)
        super().__setitem__(option, value)

    def barrier(self) -> None:
        """Do nothing: inline Python says so where its options no longer depend on the sections that it has read."""

    def _do_extend_raw(self, name: str, data: dict[str, str], doing: list[str]) -> dict[str, str]:
        """Return what a section has with its macros; upstream copies the history of every option several times."""
        return data if name == "buildout" else with_macros(name, data, self.buildout._raw, self.buildout.nearest)

    def copy(self) -> dict[str, str]:
        return {**self._raw, **self._cooked, **self._data}

    def _call(self, function: Callable[[], Any]) -> Any:
        step = functools.partial(super()._call, function)
        ahead = self.buildout.ahead
        paths = step() if ahead is None else ahead.call(self.name, step)
        return [str(path) for path in paths] if isinstance(paths, Iterable) and not isinstance(paths, str) else paths
