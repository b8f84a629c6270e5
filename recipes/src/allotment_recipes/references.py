# SPDX-License-Identifier: Apache-2.0
"""Which options of a profile are referred to: an option that a recipe does not know may still be a variable."""

import re
from collections.abc import Mapping
from typing import Any, Final

ALL: Final = "*"  # stands for every option of a section
_REFERENCE = re.compile(r"\$\{([-\w. ]*):([-\w.]+)|(?<=\s)([-\w.]*):([-\w.]+)")  # also "key name section:option"
_WHOLE_SECTION = re.compile(r"^\s*section\s+\S+\s+(\S+)", re.MULTILINE)  # in a template's context


def references(raw: Mapping[str, Mapping[str, str]]) -> dict[str, set[str]]:
    """Map each section to its options that some text of the profile refers to."""
    found: dict[str, set[str]] = {}
    for section, options in raw.items():
        for text in options.values():
            if ":" in text:
                for target, option, named, named_option in _REFERENCE.findall(text):
                    found.setdefault(target.strip() or named or section, set()).add(option or named_option)
            if "section" in text:
                for target in _WHOLE_SECTION.findall(text):
                    found.setdefault(target, set()).add(ALL)
    return found


def variables_of(buildout: Mapping[str, Any], section: str, own: Mapping[str, str]) -> frozenset[str]:
    """Return the options of ``section`` that are variables; what it inherits from macros counts as its own text."""
    everywhere = getattr(buildout, "references", None) or {}
    merged = getattr(own, "_raw", own)
    names = everywhere.get(section, set()) | references({section: merged}).get(section, set())
    return frozenset(merged) if ALL in names else frozenset(names)
