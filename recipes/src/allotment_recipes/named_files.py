# SPDX-License-Identifier: Apache-2.0
"""The files beside profiles that options name: they belong to the release, as the profiles do."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from allotment_recipes.option_error import ProfileError
from allotment_recipes.profiles import BASE_LOCATION
from allotment_recipes.remote_profiles import is_remote

_NAMED: Final = re.compile(r"\$\{:" + BASE_LOCATION + r"\}/([^\s'\"#;,]+)")
_REFERENCE: Final = re.compile(r"\$\{([^:}]*):([^}]+)\}")


def named_files(sections: Mapping[str, Mapping[str, str]]) -> set[Path]:
    """Return the files and folders that sections, with their macros in them, name; one that is not there is an error.

    What only a run knows, or whoever inherits a macro, is left out.
    """
    found: set[Path] = set()
    for section, options in sections.items():
        if is_remote(options.get(BASE_LOCATION, "")):
            continue  # what it names beside it is a source
        for option, text in options.items():
            for name in _NAMED.findall(text):
                name = _filled(name, section, sections)
                if "${" in name:
                    continue
                path = Path(os.path.normpath(Path(options[BASE_LOCATION]) / name))
                if not path.exists():
                    raise ProfileError(f"[{section}] {option}: {path} does not exist", "Correct the path")
                found.add(path)
    return found


def _filled(text: str, own: str, sections: Mapping[str, Mapping[str, str]], doing: tuple[str, ...] = ()) -> str:
    """Return a text of the section ``own`` with the references in it whose options are written; others stay."""

    def value(found: re.Match[str]) -> str:
        section, option = found[1].strip() or own, found[2].strip()
        written, name = sections.get(section, {}).get(option), f"{section}:{option}"
        return found[0] if written is None or name in doing else _filled(written, section, sections, (*doing, name))

    return _REFERENCE.sub(value, text)
