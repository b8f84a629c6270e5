# SPDX-License-Identifier: Apache-2.0
"""A file of values that people edit in a partition: sections with ``option = value``, as in a profile."""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from allotment.atomic import read_limited
from allotment.errors import AllotmentError
from allotment.options import OptionProblem

_LIMIT: Final = 1 << 20  # bytes
_COMMENT: Final = "#"


def read_text(path: Path, option: str) -> str:
    """Return what the file says, nothing when it is not there; ``option`` names it in errors."""
    try:
        return (read_limited(path, _LIMIT) or b"").decode()
    except AllotmentError as error:
        raise OptionProblem(option, error.what, error.fix) from error
    except UnicodeDecodeError as error:
        raise OptionProblem(option, f"{path} is not UTF-8 text", "Correct the file") from error


def parse(text: str, path: Path, option: str) -> dict[str, dict[str, str]]:
    """Return the values of each section."""
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=(_COMMENT,), strict=False, default_section=""
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names are as they are written
    try:
        parser.read_string(text, str(path))
    except configparser.Error as error:
        problem = " ".join(str(error).split())
        raise OptionProblem(option, f"{path} can't be read: {problem}", "Correct the file") from error
    return {section: dict(parser[section]) for section in parser.sections()}


def with_defaults(text: str, section: str, missing: Mapping[str, str]) -> str:
    """Return the text with ``missing`` values added to a section; nothing of what people have written changes."""
    if not missing:
        return text
    added = "".join(f"{name} = {_continued(name, value)}\n" for name, value in missing.items())
    lines = text.splitlines(keepends=True)
    header = f"[{section}]"
    for number, line in enumerate(lines):
        if line.rstrip() == header:
            lines[number] = f"{header}\n{added}"
            return "".join(lines)
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}{header}\n{added}"


def _continued(name: str, value: str) -> str:
    lines = value.strip().splitlines()
    if any(line.strip().startswith(_COMMENT) for line in lines[1:]):
        raise OptionProblem(name, f"a line of it begins with '{_COMMENT}'", "It would be a comment: write it otherwise")
    return "\n  ".join(line.strip() for line in lines if line.strip())
