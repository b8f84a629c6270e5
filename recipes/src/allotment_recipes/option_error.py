# SPDX-License-Identifier: Apache-2.0
"""The errors that buildout itself understands. Imported only when one is raised: zc.buildout takes 0.3 s to import."""

import zc.buildout

from allotment.errors import AllotmentError
from allotment.options import OptionProblem


class OptionError(AllotmentError, zc.buildout.UserError):  # type: ignore[misc]  # zc.buildout has no types
    """An option of a section is missing, unknown or wrong: ``[section] option: problem. Fix.``"""

    def __init__(self, section: str, problem: OptionProblem) -> None:
        AllotmentError.__init__(self, f"[{section}] {problem.what}", problem.fix)
        self.section = section
        self.option = problem.option


class ProfileError(AllotmentError, zc.buildout.UserError):  # type: ignore[misc]  # zc.buildout has no types
    """A profile can't be used: an unknown recipe, a reference to nothing, an unreadable file."""
