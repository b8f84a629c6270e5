# SPDX-License-Identifier: Apache-2.0
"""Recipe ``request``: ask for another instance, a child of this one, and read what it publishes."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from allotment.messages.instance import ChildAnswer, ChildRequest, InstanceState
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.options import OptionProblem, Words, rest
from allotment.secret import Secret, mark
from allotment_recipes.base import GenericBaseRecipe, unknown_option
from allotment_recipes.values import json_object, strict_json, text_of, value_of
from allotment_recipes.waiting import Waiting

CONFIG = "config-"
SLA = "sla-"
_NAMES = ("name", "release", "software-url", "software-type", "state", "shared", "return", "parameters")


class Serialisation(StrEnum):
    """How the child gets its parameters and what it publishes is read: plainly, or as JSON in one value ``_``."""

    JSON = "json"
    JSON_IN_XML = "json-in-xml"


@dataclass(frozen=True)
class Options:
    name: str  # what this instance calls the child; unique among its children
    release: str = ""  # name of a release, or sha256 of a manifest; ${slap-configuration:manifest} is the same as ours
    software_url: str = ""  # SlapOS's name of release
    software_type: str = DEFAULT_TYPE  # which kind of instance
    state: InstanceState | None = None  # default: the state that is wanted of this instance
    shared: bool = False  # ask for a shared instance
    return_: Words = Words(())  # published values without which this part waits; each becomes connection-<key>
    parameters: str = "{}"  # parameters that are no text, as a JSON object
    serialisation: Serialisation = Serialisation.JSON  # json-in-xml: the child is one of SlapOS's, with one value "_"
    others: dict[str, str] = rest()  # config-<key>: a parameter, as text; sla-<key>: where the child may run


class Recipe(GenericBaseRecipe[Options]):
    """Request the child; sets ``connection-<key>`` for what it published, ``instance-guid`` and ``instance-state``.

    ``requested-state`` is the state that was asked for. Until every key of ``return`` is there, this part and those
    that refer to it *wait*; all others are processed.
    """

    def prepare(self) -> None:
        given = self.run.need_instance(self.name)
        options = self.options
        if not options.name:
            raise OptionProblem("name", "is empty", "Write what the child is to be called")
        if bool(options.release) == bool(options.software_url):
            raise OptionProblem("release", "is asked for once, as release or as software-url", "Write one of them")
        config, sla = self._split()
        state = options.state or given.state
        parameters = {**json_object("parameters", options.parameters), **config}
        child = ChildRequest(
            name=options.name,
            release=options.release or options.software_url,
            software_type=options.software_type,
            state=state,
            parameters=self.run.tokens.restore(self._written(parameters)),
            sla=sla,
            shared=options.shared,
        )
        self.run.request(self.name, child)
        self.publish_option("requested-state", state.value)
        self._read(given.answers.get(options.name))

    def _read(self, answer: ChildAnswer | None) -> None:
        published = dict(answer.published) if answer is not None else {}
        published = self._unwrapped(self.run.tokens.hide(published))
        missing = [key for key in self.options.return_ if key not in published]
        if missing:
            self._miss(missing)
        for key, value in published.items():
            self.publish_option(f"connection-{key}", text_of(value))
        self.publish_option("instance-guid", answer.instance if answer is not None else "")
        self.publish_option("instance-state", answer.state.value if answer is not None else "")

    def _miss(self, keys: list[str]) -> None:
        """Wait for published values that are not there yet."""
        names = ", ".join(f"'{key}'" for key in keys)
        raise Waiting(f"child '{self.options.name}' has not published {names} yet")

    def _split(self) -> tuple[dict[str, Any], dict[str, str]]:
        config = {}
        sla = {}
        for option, text in self.options.others.items():
            if option.startswith(CONFIG):
                config[option.removeprefix(CONFIG)] = value_of(text)
            elif option.startswith(SLA):
                sla[option.removeprefix(SLA)] = text
            else:
                raise unknown_option(option, (*_NAMES, "serialisation", CONFIG, SLA))
        return config, sla

    def _written(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters as the child wants them; a secret inside makes all of one text secret."""
        if self.options.serialisation is Serialisation.JSON:
            return parameters
        text = self.run.tokens.reveal_in_json(json.dumps(parameters, sort_keys=True))
        is_secret = self.run.tokens.found_in(json.dumps(parameters))
        return {"_": self.run.tokens.token(Secret(text)) if is_secret else text}

    def _unwrapped(self, published: dict[str, Any]) -> dict[str, Any]:
        """Return what was published, out of one text of JSON where it is; what is no such text stays as it is."""
        if self.options.serialisation is Serialisation.JSON or "_" not in published:
            return published
        try:
            text = published["_"]
            found = strict_json(self.run.tokens.reveal(text))
        except (TypeError, ValueError, RecursionError):
            return published
        if not isinstance(found, dict):
            return published
        if self.run.tokens.found_in(text):
            found = self.run.tokens.hide(mark(found, {"writeOnly": True}))
        return found
