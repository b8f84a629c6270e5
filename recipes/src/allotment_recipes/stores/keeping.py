# SPDX-License-Identifier: Apache-2.0
"""What is kept and why: parts that roots name, and those that these refer to, across stores."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from allotment_recipes.shared_store import Store, is_whole
from allotment_recipes.stores.notes import References, references_of
from allotment_recipes.stores.roots import Root


@dataclass(frozen=True)
class Kept:
    """One reason to keep a part: from a root, part by part, to it."""

    root: Root
    chain: tuple[Path, ...]  # the first is named by the root; the last is the part


def part_names(root: Path) -> list[str]:
    """Return the names of the whole parts of a store."""
    if not root.is_dir():
        return []
    store = Store(root)
    return sorted(path.name for path in root.iterdir() if path.name[0] != "." and store.holds(path))


class Graph:
    """The parts of some stores, the first of which is the user's, and what they refer to; each is read once."""

    def __init__(self, roots: Sequence[Path], say: Callable[[str], None] = lambda line: None) -> None:
        self.roots = tuple(roots)
        self._say = say
        self._read: dict[Path, References] = {}
        self.look_again()

    def look_again(self) -> None:
        """Learn which parts are there now."""
        self._references: dict[Path, tuple[Path, ...]] = {}  # among those that are there
        self._names = {root: frozenset(part_names(root)) for root in self.roots}

    def parts(self, root: Path) -> list[Path]:
        """Return the whole parts of one of the stores."""
        return [root / name for name in sorted(self._names[root])]

    def references(self, part: Path) -> tuple[Path, ...]:
        """Return the parts that a part refers to, as far as they are there."""
        if part not in self._read:
            try:
                self._read[part] = references_of(part.parent, part.name)
            except FileNotFoundError:
                if is_whole(part):
                    raise
                return ()  # a collection has taken it meanwhile; it is read when it is built anew
        if part not in self._references:
            self._references[part] = tuple(sorted(self._resolve(part, self._read[part])))
        return self._references[part]

    def read_all(self) -> None:
        """Read what all parts refer to, so that :meth:`closure` is quick afterwards."""
        for root in self.roots:
            for part in self.parts(root):
                if not (root / ".built" / f"{part.name}.json").exists():
                    self._say(f"reading {part.name}, of which nobody has noted what it refers to")
                self.references(part)

    def named(self, names: Iterable[str], first: Path) -> set[Path]:
        """Return the parts of these names: of the store ``first``, or else of the others."""
        order = (first, *(root for root in self.roots if root != first))
        found = (next((root / name for root in order if name in self._names[root]), None) for name in names)
        return {part for part in found if part is not None}

    def closure(self, parts: Iterable[Path]) -> dict[Path, Path | None]:
        """Map all that parts need, themselves among them, to the part that asked first: None for ``parts``."""
        found: dict[Path, Path | None] = dict.fromkeys(sorted(parts))
        todo = list(found)
        for part in todo:
            for other in self.references(part):
                if other not in found:
                    found[other] = part
                    todo.append(other)
        return found

    def reasons(self, part: Path, roots: Iterable[tuple[Path, Root]]) -> Iterator[Kept]:
        """Yield each root, of the store it is of, that keeps a part, with the shortest way to it.

        The way begins with a part that no other one needs: a release names all its parts.
        """
        for store, root in roots:
            named = self.named(root.parts, store)
            reached = self.closure(named - {other for item in named for other in self.references(item)})
            reached = reached if part in reached else self.closure(named)  # else: parts that refer to each other
            if part in reached:
                chain: list[Path] = []
                step: Path | None = part
                while step is not None:
                    chain.append(step)
                    step = reached[step]
                yield Kept(root, tuple(reversed(chain)))

    def _resolve(self, part: Path, references: References) -> set[Path]:
        found = self.named(references.names, part.parent)
        outside = (Path(path) for path in references.paths)
        return (found | {path for path in outside if path.name in self._names.get(path.parent, ())}) - {part}
