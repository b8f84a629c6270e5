# SPDX-License-Identifier: Apache-2.0
"""Recipe ``request``: ask for another instance, a child of this one, and read what it publishes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from allotment.messages.instance import ChildAnswer, ChildRequest, InstanceState
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.options import OptionProblem, Words, rest
from allotment_recipes.base import GenericBaseRecipe, unknown_option
from allotment_recipes.waiting import Waiting

CONFIG = "config-"
SLA = "sla-"


@dataclass(frozen=True)
class Options:
    name: str  # what this instance calls the child; unique among its children
    release: str  # name of a release, or sha256 of a manifest; ${slap-configuration:manifest} is the same as ours
    software_type: str = DEFAULT_TYPE  # which kind of instance
    state: InstanceState | None = None  # default: the state that is wanted of this instance
    shared: bool = False  # ask for a shared instance
    return_: Words = Words(())  # published values without which this part waits; each becomes connection-<key>
    parameters: str = "{}"  # parameters that are no text, as a JSON object
    others: dict[str, str] = rest()  # config-<key>: a parameter, as text; sla-<key>: where the child may run


class Recipe(GenericBaseRecipe[Options]):
    """Request the child; sets ``connection-<key>`` for what it published, and ``instance-state``.

    Until every key of ``return`` is there, this part and those that refer to it *wait*; all others are processed.
    """

    def prepare(self) -> None:
        given = self.run.need_instance(self.name)
        options = self.options
        config, sla = self._split()
        child = ChildRequest(
            name=options.name,
            release=options.release,
            software_type=options.software_type,
            state=options.state or given.state,
            parameters=self.run.tokens.restore({**self._parameters(), **config}),
            sla=sla,
            shared=options.shared,
        )
        self.run.request(self.name, child)
        self._read(given.answers.get(options.name))

    def _read(self, answer: ChildAnswer | None) -> None:
        published: Mapping[str, Any] = answer.published if answer is not None else {}
        missing = [key for key in self.options.return_ if key not in published]
        if missing:
            keys = ", ".join(f"'{key}'" for key in missing)
            raise Waiting(f"child '{self.options.name}' has not published {keys} yet")
        for key, value in self.run.tokens.hide(dict(published)).items():
            self.publish_option(f"connection-{key}", value if isinstance(value, str) else json.dumps(value))
        self.publish_option("instance-state", answer.state.value if answer is not None else "")

    def _split(self) -> tuple[dict[str, str], dict[str, str]]:
        config = {}
        sla = {}
        for option, text in self.options.others.items():
            if option.startswith(CONFIG):
                config[option.removeprefix(CONFIG)] = text
            elif option.startswith(SLA):
                sla[option.removeprefix(SLA)] = text
            else:
                names = (
                    "name",
                    "release",
                    "software-type",
                    "state",
                    "shared",
                    "return",
                    "parameters",
                    "config-",
                    "sla-",
                )
                raise unknown_option(option, names)
        return config, sla

    def _parameters(self) -> dict[str, Any]:
        try:
            parameters = json.loads(self.options.parameters)
        except ValueError as error:
            raise OptionProblem("parameters", f"is not JSON: {error}", "Write a JSON object") from error
        if not isinstance(parameters, dict):
            raise OptionProblem("parameters", "is not a JSON object", 'Write it like {"port": 8080}')
        return parameters
