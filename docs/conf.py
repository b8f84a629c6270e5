# SPDX-License-Identifier: Apache-2.0
"""Sphinx settings. Every warning is an error (tox -e docs), a broken reference too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import generate  # beside this file

generate.main([])  # so that a plain sphinx-build finds the generated pages as well

project = "Allotment"
author = "the Allotment authors"
copyright = author
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3
nitpicky = True
exclude_patterns = ["_build", "screenshots"]
html_theme = "furo"
html_title = "Allotment"
html_copy_source = False
html_show_sphinx = False
