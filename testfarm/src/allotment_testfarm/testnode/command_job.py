# SPDX-License-Identifier: Apache-2.0
"""The job kind ``command``: run one command on a revision's files."""

import subprocess

from allotment.errors import AllotmentError
from allotment_testfarm.jobs import InfrastructureError, JobContext


def run_command(context: JobContext) -> None:
    """Run ``options["command"]``, a list of words, in the revision's folder; exit code 0 passes."""
    command = context.job.options.get("command")
    if not isinstance(command, list | tuple) or not command or not all(isinstance(word, str) for word in command):
        raise InfrastructureError(
            f"job {context.job.id} has no command", 'Give it the option "command", a list of words'
        )
    with context.step("command"):
        try:
            code = subprocess.run(command, cwd=context.source, check=False).returncode
        except OSError as error:
            raise AllotmentError(f"{command[0]} can't be run: {error.strerror}", "Correct the job's command") from error
        if code != 0:
            context.fail(f"{command[0]} ended with {code}")
