# SPDX-License-Identifier: Apache-2.0
"""What each run sets in ``[buildout]``, whatever the profile says."""

from allotment_recipes.recipes.python_scripts import base_python


def run_settings(*, development: bool = False, eggs: str = "eggs", parts: str = "parts") -> dict[str, str]:
    """Return options of ``[buildout]``; ``development`` lets versions be that no profile pins."""
    return {
        "allow-picked-versions": "true" if development else "false",
        "eggs-directory": eggs,
        "eggs-directory-version": "",
        "parts-directory": parts,
        "executable": base_python(),
    }
