# SPDX-License-Identifier: Apache-2.0
"""The process that a job runs in: ``python -m allotment_testfarm.testnode.job_process`` and four folders.

It is started under the guard with a clean environment. Its output is the log, its report folder tells all else.
"""

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from allotment.atomic import write_bytes
from allotment.codec import dumps, loads
from allotment.errors import AllotmentError, PluginError
from allotment.messages.job import Job
from allotment.plugins import load, plugins
from allotment_testfarm.jobs import InfrastructureError, JobContext, ReportFolder


def main(arguments: list[str]) -> int:
    """Run the job of the report folder; 0 once the result is written, whatever it is."""
    report, source, scratch, sources = (Path(argument) for argument in arguments)
    folder = ReportFolder(report)
    job = loads(Job, folder.job.read_bytes(), str(folder.job))
    caches = json.loads(folder.caches.read_bytes()) if folder.caches.exists() else ()
    context = JobContext(job, source, scratch, sources, folder, caches)
    caught: BaseException | None = None
    try:
        _kind(job.kind)(context)
    except AllotmentError as error:
        caught = error
        context.say(f"error: {error}")
    except (Exception, SystemExit) as error:  # the job's own trouble must reach the farm as its result
        caught = error
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    write_bytes(folder.result, dumps(context.finish(caught)))
    return 0


def _kind(name: str) -> Callable[[JobContext], None]:
    try:
        kind: Callable[[JobContext], None] = load(plugins().named("allotment_job_kinds", name, "job kind").target)
    except PluginError as error:  # the plugins of this test node, not the software
        raise InfrastructureError(error.what, error.fix) from error
    return kind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
