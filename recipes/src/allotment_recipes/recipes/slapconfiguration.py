# SPDX-License-Identifier: Apache-2.0
"""Recipe ``slapconfiguration``: what the world says to this instance, as options of a section."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allotment.options import OptionProblem
from allotment.secret import mark, unwrap
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.parameters import defaults, is_checked


@dataclass(frozen=True)
class Options:
    jsonschema: Path | None = None  # JSON schema of the parameters: defaults, secrets, what is accepted


class Recipe(GenericBaseRecipe[Options]):
    """Read ``.allotment/instance.json``; sets these options and writes nothing.

    ``address`` (the first), ``addresses`` (one a line), ``instance``, ``instance-title``, ``root-instance-title``,
    ``node``, ``partition``, ``state``, ``slap-software-type``, ``manifest``, ``configuration`` (all parameters as
    JSON), ``configuration.<name>`` (each; what is no text is JSON), ``shared-instances`` (JSON). Parameters are checked
    against ``jsonschema`` where the extra ``allotment.recipes[schema]`` is installed.
    """

    def prepare(self) -> None:
        given = self.run.need_instance(self.name)
        addresses = given.addresses
        texts = {
            "address": addresses[0] if addresses else "",
            "addresses": "\n".join(addresses),
            "instance": given.instance,
            "instance-title": given.name,
            "root-instance-title": given.tree,
            "node": given.node,
            "partition": given.partition,
            "state": given.state.value,
            "slap-software-type": given.software_type,
            "manifest": given.manifest,
        }
        for option, text in texts.items():
            self.publish_option(option, text)
        self._publish_parameters(self._complete(dict(given.parameters)))
        shared = [{"name": item.name, "parameters": item.parameters} for item in given.shared]
        self.publish_option("shared-instances", _json(self.run.tokens.hide(shared)))

    def _complete(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters with defaults filled in and secrets marked, checked against the schema."""
        if self.options.jsonschema is None:
            return parameters
        schema = self._read_schema(self.path(self.options.jsonschema))
        parameters = unwrap({**defaults(schema), **parameters}, redacted=False)
        if not is_checked():
            return mark(parameters, schema)
        from allotment.parameters import checked

        return checked(parameters, schema, f"[{self.name}] configuration")

    def _read_schema(self, path: Path) -> dict[str, Any]:
        try:
            schema = json.loads(path.read_bytes())
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise OptionProblem("jsonschema", f"{path} can't be read: {reason}", "Correct the path") from error
        except ValueError as error:
            raise OptionProblem("jsonschema", f"{path} is not JSON: {error}", "Correct the file") from error
        if not isinstance(schema, dict):
            raise OptionProblem("jsonschema", f"{path} is not a JSON schema", "Write a JSON object")
        return schema

    def _publish_parameters(self, parameters: dict[str, Any]) -> None:
        hidden = self.run.tokens.hide(parameters)
        self.publish_option("configuration", _json(hidden))
        for name, value in hidden.items():
            self.publish_option(f"configuration.{name}", value if isinstance(value, str) else _json(value))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
