# SPDX-License-Identifier: Apache-2.0
"""Every file says its licence, and names no registry and no machine."""

import ast
import re
from pathlib import Path

import pytest

LINE = "SPDX-License-Identifier: Apache-2.0"
# formats without comments, texts of others, and files that are read to the byte
WITHOUT_COMMENTS = {".json", ".png", ".typed", ".ico", ".lock"}
OTHERS = {"LICENSE", "tests/assets"}
# in pieces, so that this file does not hold them itself
FORBIDDEN = re.compile(
    "|".join(
        [
            r"deb" + r"\.debian\.",
            r"py" + r"pi\.org",
            r"python" + r"hosted",
            r"npm" + r"js\.",
            r"/wo" + r"rk/",
            r"/tmp/br" + r"ief",
            r"/ro" + r"ot/\.",
        ]
    )
)
LONGEST_FUNCTION = 60
LONGEST_MODULE = 400


def relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def is_others(name: str) -> bool:
    return any(name == other or name.startswith(f"{other}/") for other in OTHERS)


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_every_file_starts_with_its_licence(files: list[Path], root: Path) -> None:
    missing = []
    for path in files:
        name, text = relative(path, root), text_of(path)
        if text is None or not text.strip() or path.suffix in WITHOUT_COMMENTS or is_others(name):
            continue
        if path.parent.name == "news" and path.suffix == ".md":  # a fragment is copied into the change log as it is
            continue
        if not any(LINE in line for line in text.splitlines()[:2]):  # a #! or <?xml line may come first
            missing.append(name)
    assert missing == []


def test_no_file_names_a_registry_or_a_machine(files: list[Path], root: Path) -> None:
    found = []
    for path in files:
        text = text_of(path)
        if text is not None and not is_others(relative(path, root)):
            lines = enumerate(text.splitlines(), 1)
            found += [f"{relative(path, root)}:{number}" for number, line in lines if FORBIDDEN.search(line)]
    assert found == []


@pytest.mark.parametrize("words", ["to" + "do", "fix" + "me", "notimplemented" + "error"])
def test_nothing_is_left_unfinished(words: str, files: list[Path], root: Path) -> None:
    pattern = re.compile(rf"\b{words}\b" if words.startswith("not") else rf"#.*\b{words}\b", re.IGNORECASE)
    python = [path for path in files if path.suffix == ".py"]
    assert [relative(path, root) for path in python if pattern.search(path.read_text())] == []


def test_functions_and_modules_are_short(files: list[Path], root: Path) -> None:
    found = []
    for path in files:
        # a migration is one list of columns, and is never edited again
        if path.suffix != ".py" or relative(path, root).startswith("tests/") or "migrations" in path.parts:
            continue
        text = path.read_text()
        if text.count("\n") > LONGEST_MODULE:
            found.append(f"{relative(path, root)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    found.append(f"{relative(path, root)}:{node.lineno} {node.name}: {length} lines")
    assert found == []


def test_no_module_is_called_utils(files: list[Path], root: Path) -> None:
    assert [relative(path, root) for path in files if path.stem in ("utils", "helpers", "misc")] == []
