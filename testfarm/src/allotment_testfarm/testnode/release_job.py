# SPDX-License-Identifier: Apache-2.0
"""The job kinds ``release`` and ``from-scratch``: what production does with a software release, and its own tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from allotment.codec import Json, decode
from allotment.errors import AllotmentError, UnreachableError
from allotment.messages.job import BuiltPart, CaseOutcome, TestCase
from allotment.secret import find, mark
from allotment_recipes.context import PARTS
from allotment_recipes.engine import BuildEngine
from allotment_recipes.follow import Follow
from allotment_recipes.graph.events import EVENTS
from allotment_recipes.graph.progress import Progress
from allotment_recipes.manifest import BuiltRelease, build_release
from allotment_testfarm.jobs import InfrastructureError, JobContext
from allotment_testfarm.programs import ProgramError
from allotment_testfarm.testnode import checks, junit
from allotment_testfarm.testnode.embedded import Fleet

DEFAULT_INSTANCE = "default"
_INSTALL_SECONDS = 3600.0
_GREEN_SECONDS = 300.0
_NO_TESTS = 5  # pytest's exit code
_TESTS_FAILED = 1


def run_release(context: JobContext) -> None:
    """Build the release, deploy it on an embedded master and node until it is green, and run its tests there."""
    with Fleet(context.scratch, context.sources, context.store) as fleet:
        with context.step("build"):
            built = _build(context)
            context.add_cases(_said(context, checks.check_release(built.manifest)))
        try:
            with context.step("deploy"), _own_trouble():
                fleet.connect()
                sha256 = _deploy(context, built, fleet)
            with context.step("test"), _own_trouble():
                _test(context, fleet, sha256)
                fleet.check()
        finally:
            context.promises = fleet.promises()
    context.offer(built.manifest, built.closure)


def run_from_scratch(context: JobContext) -> None:
    """Do the same with an empty store: every part is built. Downloads are kept, because hashes decide on them."""
    context.store = context.scratch / "store"
    context.caches = ()
    run_release(context)


@contextmanager
def _own_trouble() -> Iterator[None]:
    """Tell a master or node that is gone from a release that is bad."""
    try:
        yield
    except (ProgramError, UnreachableError) as error:
        raise InfrastructureError(f"the embedded master and node do not work: {error.what}", error.fix) from error


def _build(context: JobContext) -> BuiltRelease:
    log = context.scratch / "build.log"
    log.touch()
    release = context.scratch / "release"
    with (
        closing(BuildEngine()) as engine,
        Follow(log, _print),
        Follow(release / PARTS, PartLines(context).add),
        Follow(release / EVENTS, Progress(lambda line: _print(f"{line}\n".encode())).add),
    ):
        return build_release(
            context.source / context.job.profile,
            context.source,
            release,
            context.sources,
            engine,
            log,
            store=context.store,
            caches=context.caches,
        )


class PartLines:
    """Reports what a build notes of shared parts, a JSON object a line, while it is being written."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._rest = b""  # of a line that is not whole yet

    def add(self, data: bytes) -> None:
        """Take the next piece of the file."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._context.add_parts(decode(BuiltPart, json.loads(line)) for line in lines)


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _deploy(context: JobContext, built: BuiltRelease, fleet: Fleet) -> str:
    """Install the release on the node and make one instance green; return the manifest's sha256."""
    context.hide(_tokens(context.scratch))
    sha256 = fleet.install(built.manifest, built.closure, _INSTALL_SECONDS)
    context.say(f"installed manifest {sha256}")
    parameters = _default_parameters(context)
    default = built.manifest.software_types.get("default")
    context.hide(find(mark(parameters, default.parameters if default else {})))
    info = fleet.deploy(DEFAULT_INSTANCE, sha256, parameters, _GREEN_SECONDS)
    for promise in info.promises:
        context.say(f"promise {promise.name}: {promise.status}: {promise.message}")
    context.add_cases(_said(context, checks.check_instance(built.manifest, info)))
    return sha256


def _tokens(scratch: Path) -> list[str]:
    return [path.read_text().strip() for path in (scratch / "master/admin.token", scratch / "node/node.token")]


def _default_parameters(context: JobContext) -> Mapping[str, Json]:
    """Return what the default instance is requested with: ``test/parameters.json``, or nothing."""
    path = _tests(context) / "parameters.json"
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise AllotmentError(f"test/parameters.json is not JSON: {error}", "Write a JSON object") from error
    if not isinstance(value, dict):
        raise AllotmentError("test/parameters.json is not an object", "Write a JSON object")
    return value


def _tests(context: JobContext) -> Path:
    return (context.source / context.job.profile).parent / "test"


def _test(context: JobContext, fleet: Fleet, sha256: str) -> None:
    """Run the release's own tests, if it has any, and report each."""
    tests = _tests(context)
    if not any(tests.glob("**/test_*.py")):
        context.say("the release has no tests of its own")
        return
    settings = context.scratch / "pytest.ini"
    settings.write_text("[pytest]\n")  # the repository's own settings are for its own tests
    report = context.scratch / "junit.xml"
    plugins = ["-p", "xdist.plugin", "-p", "allotment_testfarm.release_testing"]
    options = [*plugins, "-n", "2", "--import-mode=importlib", "-p", "no:cacheprovider", "--color=no", "-v"]
    command = [sys.executable, "-m", "pytest", *options, "-c", str(settings), "--rootdir", str(tests.parent)]
    code = subprocess.run(
        [*command, f"--junitxml={report}", str(tests)],
        cwd=context.scratch,
        env={**os.environ, **_settings(context, fleet, sha256)},
        check=False,
    ).returncode
    if code == _NO_TESTS:
        context.say("the release has no tests of its own")
        return
    cases = junit.read(report)
    context.add_cases(cases)
    if code not in (0, _TESTS_FAILED) or (code != 0 and not any(_is_bad(case) for case in cases)):
        context.fail(f"pytest ended with {code}")


def _settings(context: JobContext, fleet: Fleet, sha256: str) -> dict[str, str]:
    """Return the variables that make the fixtures of ``allotment_testfarm.release_testing`` work."""
    return {
        "ALLOTMENT_MASTER": fleet.client.url,
        "ALLOTMENT_TOKEN_FILE": str(fleet.token_file),
        "ALLOTMENT_RELEASE": sha256,
        "ALLOTMENT_DEFAULT_INSTANCE": DEFAULT_INSTANCE,
        "ALLOTMENT_SECRETS_FILE": str(context.report.secrets),
        # The same at every desk and test node, whatever else is installed there; a conftest.py may name more.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def _said(context: JobContext, cases: tuple[TestCase, ...]) -> tuple[TestCase, ...]:
    for case in cases:
        context.say(f"{case.suite}: {case.name}: {case.outcome}{f': {case.message}' if case.message else ''}")
    return cases


def _is_bad(case: TestCase) -> bool:
    return case.outcome in (CaseOutcome.FAILED, CaseOutcome.ERROR)
