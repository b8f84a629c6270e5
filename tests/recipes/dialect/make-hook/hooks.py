# SPDX-License-Identifier: Apache-2.0
from pathlib import Path


def after(options, buildout, environment):
    Path(options["location"], "hooked").write_text("yes\n")
