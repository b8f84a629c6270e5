# SPDX-License-Identifier: Apache-2.0
"""How large profiles may be. Honest ones are far below; a hostile one ends in a clear error, soon."""

from typing import Final

FILE: Final = 16 << 20  # characters of one profile
TREE: Final = 64 << 20  # characters of all profiles of one run
FILES: Final = 10_000  # profiles of one run
DEPTH: Final = 200  # profiles, macros or references that lead from one to the next
VALUE: Final = 16 << 20  # characters of one option, what it refers to included
VALUES: Final = 256 << 20  # characters of all options of one run
HEADER: Final = 2_000  # characters of a line with a section's name
LITERAL: Final = 1 << 20  # characters of a value that is no text
