# SPDX-License-Identifier: Apache-2.0
"""The hooks through which everything enters, the project's own plugins included; docs/reference/hooks lists them.

A hook returns data; the core decides when to act. Targets are named as ``"module:attribute"`` and imported only when
they are used, so a plugin's own module must import nothing heavy. For every hook: an exception that escapes makes the
plugin *broken*: it is reported by name, version and reason, its other contributions are dropped, all else goes on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("allotment")
hookimpl = pluggy.HookimplMarker("allotment")


@dataclass(frozen=True)
class Command:
    """A subcommand of ``allot``; ``path`` is its words, such as ``("farm", "run")``."""

    path: tuple[str, ...]
    target: str  # "module:click command"
    help: str  # one line, shown by --help without importing the target


@dataclass(frozen=True)
class RecipeType:
    """A recipe; ``[section] recipe = <distribution>:<name>`` uses it."""

    name: str
    target: str  # "module:class", a GenericBaseRecipe whose module has its Options
    distribution: str = "allotment.recipes"


@dataclass(frozen=True)
class PromiseType:
    """A kind of promise; the ``type`` of a promise file names it."""

    name: str
    target: str  # "module:class", a GenericPromise whose module has its Options


@dataclass(frozen=True)
class SourceProvider:
    """A way to obtain pinned bytes. Providers are asked in the order of ``order``; only the hash decides."""

    name: str
    order: int  # lower is asked earlier; the cache is 0
    target: str  # "module:function", called as fetch(source, blobs) -> None; raises AllotmentError with its reason


@dataclass(frozen=True)
class BinaryCache:
    """A way to keep packed parts. The scheme of a cache's URL is its ``name``; what is taken is verified anyway."""

    name: str  # such as "s3"
    target: str  # "module:class", made as target(url, token), an allotment_recipes.binary_cache.caches.BinaryCache


@dataclass(frozen=True)
class SupervisorType:
    """A process supervisor that a node can run services under."""

    name: str
    target: str  # "module:class", an implementation of allotment_node.supervisor.Supervisor


@dataclass(frozen=True)
class AllocationTerm:
    """A constraint on where an instance may run: ``key`` in a request's SLA must equal an attribute of the node.

    Declarative: it compiles to an indexed SQL condition and is never code in the allocator's loop.
    """

    key: str
    attribute: str  # "name", or "label:<name>"
    doc: str


@dataclass(frozen=True)
class JobKind:
    """A kind of farm job; the test node runs ``target`` in a process of its own."""

    name: str
    target: str  # "module:function", called as run(context: allotment_testfarm.jobs.JobContext) -> None
    doc: str


@dataclass(frozen=True)
class VerdictRule:
    """A rule that turns a job's last attempt into its verdict. Rules are asked in the order of ``order``."""

    name: str
    order: int
    target: str  # "module:function", called as rule(attempt: Attempt, earlier: Verdict | None) -> Verdict | None
    doc: str


@hookspec
def allotment_commands() -> Iterable[Command]:
    """List this plugin's subcommands. Called each time ``allot`` starts: return constants, import nothing.

    Two commands of the same path, or one where the other wants a group: the first plugin in calling order keeps it,
    the other command is dropped and reported. The same holds for two items of one name in every other hook.
    """
    return ()


@hookspec
def allotment_recipe_types() -> Iterable[RecipeType]:
    """List this plugin's recipes. Called by ``allot plugins``, by the documentation, and once per buildout process
    when a profile names an unknown recipe, to suggest the nearest. Each must also be a ``zc.buildout`` entry point.
    """
    return ()


@hookspec
def allotment_promise_types() -> Iterable[PromiseType]:
    """List this plugin's promise types. Called once, when the launcher starts, before any partition is read."""
    return ()


@hookspec
def allotment_source_providers() -> Iterable[SourceProvider]:
    """List this plugin's source providers. Called once per process, before the first pinned source is fetched.

    A provider that raises is passed over; when all have failed, the error lists every provider's reason.
    """
    return ()


@hookspec
def allotment_binary_caches() -> Iterable[BinaryCache]:
    """List this plugin's kinds of binary caches. Called when a build, ``allot cache`` or a server opens one.

    An AllotmentError of a cache is the reason why a build leaves it alone: the parts are built then.
    """
    return ()


@hookspec
def allotment_supervisors() -> Iterable[SupervisorType]:
    """List this plugin's process supervisors. Called once, when the node agent starts; ``supervisor`` in its
    configuration names the one to use. A target that can't be imported stops the start with a clear error.
    """
    return ()


@hookspec
def allotment_allocation_terms() -> Iterable[AllocationTerm]:
    """List the SLA keys that this plugin understands. Called once, when the master starts.

    A request with a key that nobody lists is refused at once, with the nearest valid one.
    """
    return ()


@hookspec
def allotment_job_kinds() -> Iterable[JobKind]:
    """List this plugin's farm job kinds. Called once, when a test node starts, and in each job's process.

    An exception of the target fails the attempt: an AllotmentError as ``failed``, any other as ``infrastructure``.
    """
    return ()


@hookspec
def allotment_verdict_rules() -> Iterable[VerdictRule]:
    """List this plugin's verdict rules. Called once, when the engine starts; the first rule that returns a verdict
    decides. A rule that raises, or returns anything but a verdict or None, is logged and passed over for that job.
    """
    return ()


@dataclass(frozen=True)
class Planned:
    """A hook that gets its specification with its first caller; the documentation lists its intended shape."""

    name: str
    shape: str
    doc: str
    details: Mapping[str, Any] = field(default_factory=dict)


PLANNED = (
    Planned(
        "allotment_node_lifecycle",
        "() -> Iterable[NodeStep(moment, order, target)]",
        "Work around format, software, instance, report and destroy; target(partition) runs at its moment.",
    ),
    Planned(
        "allotment_price_models",
        "() -> Iterable[PriceModel(name, target)]",
        "Turn usage records into rated amounts; called once when the master starts.",
    ),
    Planned(
        "allotment_notifiers",
        "() -> Iterable[Notifier(name, target)]",
        "Tell people of a verdict; target(event) is called off the engine's thread.",
    ),
)
