# SPDX-License-Identifier: Apache-2.0
"""An instance's parameters against its software type's schema, on the node as well: a master may be older or wrong."""

from collections.abc import Mapping
from typing import Any

from allotment.errors import AllotmentError, nearest
from allotment.messages.desired_state import DesiredState
from allotment.messages.manifest import ReleaseManifest, SoftwareType
from allotment.secret import find, mark, revealed, scrub


def software_type(manifest: ReleaseManifest, document: DesiredState) -> SoftwareType:
    """Return the software type that a document asks for."""
    found = manifest.software_types.get(document.software_type)
    if found is None:
        raise AllotmentError(
            f"{manifest.name} has no software type '{document.software_type}'",
            nearest(document.software_type, tuple(manifest.software_types)),
        )
    return found


def checked(document: DesiredState, kind: SoftwareType) -> dict[str, Any]:
    """Return the parameters with secrets marked as the schema says; the first mistake is an AllotmentError."""
    parameters: dict[str, Any] = mark(document.parameters, kind.parameters)
    import jsonschema  # imported here: an agent with nothing to process does without its 10 MB
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: the default one fetches what a schema refers to from the network.
    validator = jsonschema.Draft202012Validator(kind.parameters, registry=Registry())
    try:
        problem = jsonschema.exceptions.best_match(validator.iter_errors(revealed(parameters)))
    except (Unresolvable, RecursionError) as error:
        raise AllotmentError(f"the schema of {kind.title} can't be followed: {error}", "Correct the release") from None
    if problem is not None:
        place = "".join(f".{step}" for step in problem.absolute_path)
        text = scrub(problem.message, find(parameters))
        if isinstance(problem.schema, Mapping) and problem.schema.get("writeOnly") is True:  # also what is no text
            text = f"a secret breaks its rule '{problem.validator}'"
        raise AllotmentError(f"parameters{place}: {text}", "Request it with parameters that its schema allows")
    return parameters
