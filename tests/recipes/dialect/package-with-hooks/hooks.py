# SPDX-License-Identifier: Apache-2.0
import subprocess
from pathlib import Path


def after(options, buildout, environment):
    said = subprocess.check_output([Path(options["location"], "bin/hello")], text=True)
    Path(options["location"], "hooked").write_text(options["tool_version"] + " " + said)
