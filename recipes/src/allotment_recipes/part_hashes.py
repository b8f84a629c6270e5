# SPDX-License-Identifier: Apache-2.0
"""The hashes by which parts are known: each of a part's own inputs and of the hashes of the parts it refers to."""

import contextlib
import functools
from collections.abc import Iterable
from typing import Any

from allotment.errors import AllotmentError
from allotment_recipes import store
from allotment_recipes.profiles import BASE_LOCATION


class _CircleFound(Exception):
    """Parts that refer to each other were met for the first time; now they are noted."""


class PartHashes:
    """Computes each part's hash once; ``buildout`` is our driver's, whose recipes ask in their constructors."""

    def __init__(self, buildout: Any) -> None:
        self._buildout = buildout
        self._hashes: dict[str, str] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._hashing: list[str] = []
        self._circles: dict[str, frozenset[str]] = {}  # part -> those that refer to each other, itself among them

    def hash(self, name: str, recipe: Any = None) -> str:
        """Return the hash of a part's inputs; a recipe asks in its constructor, after its references are resolved.

        Of parts that refer to each other, as SlapOS's may, each one's hash has the inputs of all in it.
        """
        while name not in self._hashes:
            circle = self._circles.get(name, frozenset())
            try:
                others = [store.document_hash(self._inputs(other, None, circle)) for other in self.circle(name)]
                document = self._inputs(name, recipe, circle, others)
                self._hashes[name], self._documents[name] = store.document_hash(document), document
            except _CircleFound:
                if self._hashing:
                    raise
        return self._hashes[name]

    def document(self, name: str) -> dict[str, Any]:
        """Return what a part's hash is made of."""
        self.hash(name)
        return self._documents[name]

    def circle(self, name: str) -> list[str]:
        """Return the parts that refer to a part which refers to them; their own inputs end its list of references."""
        return sorted(self._circles.get(name, frozenset()) - {name})

    def _inputs(self, name: str, recipe: Any, circle: frozenset[str], others: Iterable[str] = ()) -> dict[str, Any]:
        """Return a part's own inputs, the hashes of the parts outside of its circle, and ``others``."""
        buildout = self._buildout
        recipe = recipe or buildout._data[name].recipe
        options = buildout._data[name]
        left_out = {BASE_LOCATION, *getattr(recipe, "not_inputs", ())}  # what names that folder is hashed
        return store.part_document(
            {key: options.get(key) for key in options._raw if key not in left_out},
            build_version=getattr(recipe, "build_version", 0),
            references=[*self._references(name, circle), *others],
            inputs=recipe.inputs() if hasattr(recipe, "inputs") else {},
            roots=self._roots,
        )

    def _references(self, name: str, circle: frozenset[str]) -> list[str]:
        if name in self._hashing:
            found = frozenset(part for part in self.all_parts_of(name) if name in self.all_parts_of(part))
            self._circles.update(dict.fromkeys(found, found))
            raise _CircleFound
        self._hashing.append(name)
        try:
            # Of a part whose constructor is at work nothing can be used but options, and those are inputs already.
            parts = self._buildout.parts_of(name)
            return [self.hash(part) for part in parts if part not in circle and part not in self._buildout._stack]
        finally:
            self._hashing.pop()

    def all_parts_of(self, name: str) -> set[str]:
        """Return the parts that a part refers to, directly or through other parts."""
        found: set[str] = set()
        todo = [name]
        while todo:
            new = set(self._buildout.parts_of(todo.pop())) - found
            found |= new
            todo += new
        return found

    @functools.cached_property
    def _roots(self) -> dict[str, str]:
        run = self._buildout.run
        roots = {str(run.folder): "@release@", self._buildout["buildout"]["executable"]: "@python@"}
        if run.closure is not None:
            roots[str(run.closure)] = "@closure@"
        with contextlib.suppress(AllotmentError):  # its path is too long: said to whoever wants to build there
            if run.store_root is not None:
                roots[str(run.store_root)] = "@store@"
        roots |= {str(root): "@store@" for root in run.lower_roots}
        return roots
