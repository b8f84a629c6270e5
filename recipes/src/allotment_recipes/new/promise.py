# SPDX-License-Identifier: Apache-2.0
"""A new promise type."""

import re
from pathlib import Path

from allotment.errors import AllotmentError
from allotment_recipes.new.home import LICENCE, Home, choose, fill, with_promise, write
from allotment_recipes.new.writing import check_name


def new_promise(folder: Path, name: str, distribution: str) -> tuple[Home, list[Path]]:
    """Write a promise type with its test, and enter it; return what was written."""
    check_name(name, "promise", "check_backup")
    if not re.fullmatch(r"check(_[a-z0-9]+)+", name):
        good = "check_" + re.sub(r"[^a-z0-9]+", "_", name).removeprefix("check_")
        raise AllotmentError(f"{name!r} is not a name for a promise type", f"Write it like {good!r}")
    home = choose(folder, name, distribution, _ours)
    kind = "".join(word.capitalize() for word in name.split("_"))
    words = {"name": name, "class": kind, "package": home.package, "licence": home.licence}
    texts = home.texts(home.plugin)
    changed = with_promise(home, texts, name, kind)
    files = {home.source / f"{name}.py": fill(PROMISE, words), home.tests / f"test_{name}.py": fill(TEST, words)}
    return home, write(home, texts, changed, files)


def _ours(root: Path) -> Home:
    package = root / "promises/src/allotment_promises"
    return Home(
        *(root, "allotment.promises", "allotment_promises.types", package / "types", root / "tests/promises/types"),
        *(package / "plugin.py", root / "promises/pyproject.toml", LICENCE),
    )


PROMISE = '''\
<<licence>>"""Promise ``<<name>>``: a file is young enough."""

import time
from dataclasses import dataclass
from pathlib import Path

from allotment_promises import GenericPromise, Layer, Measurement, Metric


@dataclass(frozen=True)
class Options:
    filename: Path  # relative to the partition
    age: float = 3600.0  # seconds since it was written, at most


class <<class>>(GenericPromise[Options]):
    """Passes when ``filename`` was written within the last ``age`` seconds."""

    layer = Layer.PROCESS

    def target(self) -> str:
        return str(self.partition / self.options.filename)

    def sense(self) -> Measurement:
        try:
            age = time.time() - (self.partition / self.options.filename).stat().st_mtime
        except OSError as error:
            return Measurement.failed(f"{self.options.filename} can't be examined: {error.strerror}")
        if age > self.options.age:
            return Measurement.failed(f"{self.options.filename} is {age:.0f} s old, more than {self.options.age:g} s")
        return Measurement.passed(f"{self.options.filename} is {age:.0f} s old", age=Metric(age, "s"))
'''
TEST = """\
<<licence>>import os
import time
from pathlib import Path

from allotment.options import parse_options
from allotment_promises import Measurement
from <<package>>.<<name>> import <<class>>, Options


def sense(partition: Path, **options: str) -> Measurement:
    return <<class>>(parse_options(Options, options), partition, "name").sense()


def test_a_young_file_passes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = sense(tmp_path, filename="file", age="60")
    assert found.is_passed
    assert found.metrics["age"].value < 60


def test_an_old_or_missing_file_fails(tmp_path: Path) -> None:
    assert sense(tmp_path, filename="file").message == "file can't be examined: No such file or directory"
    (tmp_path / "file").write_text("")
    os.utime(tmp_path / "file", (time.time() - 100, time.time() - 100))
    assert sense(tmp_path, filename="file", age="60").message == "file is 100 s old, more than 60 s"
"""
