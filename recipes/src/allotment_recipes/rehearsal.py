# SPDX-License-Identifier: Apache-2.0
"""A run of nothing, before the real one comes: most of a small run's time goes into copying a forked process' memory.

It reads a profile that is no file, and what its parts would write is thrown away: nothing on disk is changed.
"""

import os
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Final

from allotment.codec import dumps, loads
from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceInput, InstancePublished, InstanceRequests, InstanceState
from allotment_recipes import installed_parts
from allotment_recipes.compiler import compiler
from allotment_recipes.context import RunContext
from allotment_recipes.driver import Buildout
from allotment_recipes.journal import Journal
from allotment_recipes.process_state import kept_process_state
from allotment_recipes.tokens import Tokens

_ROOT: Final = Path("/")  # a folder that is there; nothing is written to it
_PROFILE: Final = Path("/rehearsal/profile.cfg")
_SOFTWARE: Final = f"""\
[buildout]
parts = program
[component]
recipe = allotment.recipes:cmmi
url = https://localhost/rehearsal-1.0.tar.gz
sha256sum = {"0" * 64}
configure-options = --prefix=@@LOCATION@@
[library]
<= component
[program]
<= component
environment =
  LIBRARY=${{library:location}}
""".encode()
_INSTANCE: Final = b"""\
[buildout]
parts = config program promise publish
[slap]
recipe = allotment.recipes:slapconfiguration
[folders]
etc = ${buildout:directory}/rehearsal/etc
[config]
recipe = allotment.recipes:template.jinja2
inline = {% for name in names.split() %}{{ name }} = {{ address }}{% endfor %}
output = ${folders:etc}/rehearsal.conf
context =
  key address slap:address
  raw names a b
[program]
recipe = allotment.recipes:wrapper
command-line = ${folders:etc}/program --config ${config:output}
wrapper-path = ${folders:etc}/rehearsal
[promise]
recipe = allotment.recipes:promise
promise = check_socket_listening
name = rehearsal
config-host = ${slap:address}
config-port = 80
[publish]
recipe = allotment.recipes:publish
address = ${slap:address}
"""
_INPUT: Final = InstanceInput(
    instance="rehearsal",
    name="rehearsal",
    tree="rehearsal",
    node="node",
    partition="part",
    state=InstanceState.STARTED,
    software_type="default",
    manifest="0" * 64,
    addresses=("127.0.0.1", "::1"),
    parameters={"number": 1, "text": "a"},
)


def rehearse() -> None:
    """Process an instance, and read a release, in memory and quietly; the process is as it was afterwards."""
    with kept_process_state(), open(os.devnull, "w") as out, redirect_stdout(out), redirect_stderr(out):
        _rehearse_instance()
        with suppress(AllotmentError):  # this machine has no compiler
            _rehearse_build()


def _rehearse_instance() -> None:
    run = RunContext(
        _ROOT, Journal(immediate=False), _ROOT, Tokens(b"rehearsal"), instance=loads(InstanceInput, dumps(_INPUT))
    )
    buildout = _buildout(run, _INSTANCE)
    buildout.run_parts()
    run.journal.changes()
    installed_parts.text_of(buildout._parts_of(buildout._installed))
    dumps(InstancePublished(run.published))
    dumps(InstanceRequests(True, tuple(run.requests.values()), ()))


def _rehearse_build() -> None:
    buildout = _buildout(RunContext(_ROOT, Journal(immediate=False), _ROOT, Tokens(b"")), _SOFTWARE)
    try:
        buildout.prepare_parts()
        for part in buildout._parts:
            buildout.part_hash(part)
    finally:
        compiler.cache_clear()  # it may be another one when the run comes


def _buildout(run: RunContext, profile: bytes) -> Buildout:
    run.journal.write(_PROFILE, profile, 0o600, "")
    settings = {
        **dict.fromkeys(("eggs-directory", "parts-directory", "executable"), str(_ROOT)),
        "eggs-directory-version": "",
        "installed": str(_PROFILE.with_name("installed.cfg")),
        "extends": str(_PROFILE),
    }
    return Buildout(None, run, settings)
