# SPDX-License-Identifier: Apache-2.0
"""Recipe ``shared-instances``: one child for each shared instance, and what the child publishes for its owner."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from allotment.atomic import read_limited
from allotment.codec import canonical
from allotment.errors import AllotmentError
from allotment.messages.instance import ChildRequest, InstanceState, SharedInstance
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.options import OptionProblem, Words, rest
from allotment.secret import mark, unwrap
from allotment_recipes.base import GenericBaseRecipe, unknown_option
from allotment_recipes.parameters import completed, is_checked, read_schema
from allotment_recipes.shared_list import Row, SharedList
from allotment_recipes.values import value_of

_LIMIT: Final = 64 << 20  # bytes of the database
_LONGEST_ERROR: Final = 500  # characters: thousands of owners' errors must fit into one file of 1 MB
_CONFIG, _SLA = "config-", "sla-"
_NAMES: Final = (
    "database",
    "release",
    "software-type",
    "shared",
    "state",
    "request-name-prefix",
    "jsonschema",
    "return",
    _CONFIG,
    _SLA,
)


@dataclass(frozen=True)
class Options:
    database: Path  # SQLite file with the list, for programs that want to read it too; it may hold secrets
    release: str  # what each child is an instance of: name of a release, or sha256 of a manifest
    software_type: str = DEFAULT_TYPE  # which kind of instance each child is
    shared: bool = True  # whether the children are shared instances themselves
    state: InstanceState | None = None  # default: the state that is wanted of this instance
    request_name_prefix: str = "shared-"  # before the shared instance's name: what a child is called; no other is so
    jsonschema: Path | None = None  # JSON schema of the parameters of a shared instance
    return_: Words = Words(())  # what of a child is published to the owner; default: all
    others: dict[str, str] = rest()  # config-<key>: a parameter that each child gets; sla-<key>: where it may run


class Recipe(GenericBaseRecipe[Options]):
    """Request a child for each shared instance, with its parameters, and publish to its owner what the child says.

    Only what changed since the last run is checked. Wrong parameters are told to their owner; the child keeps the last
    right ones, and there is none as long as none were right. The child goes with the shared instance. One that has not
    answered yet makes nothing wait.
    """

    def prepare(self) -> None:
        given = self.run.need_instance(self.name)
        if not self.options.release:
            raise OptionProblem("release", "is empty", "Write the name of a release, or the sha256 of a manifest")
        self.config, self.sla = self._split()
        self.schema: dict[str, Any] = {}
        if self.options.jsonschema is not None:
            self.schema = read_schema(self.path(self.options.jsonschema), "jsonschema")
        self._rules = canonical([self.schema, is_checked()]).decode()
        self.file = self.path(self.options.database)
        self.publish_option("database", self.file)
        shared_list = SharedList(read_limited(self.file, _LIMIT))
        try:
            rows = {item.name: self._row(item, shared_list.rows.get(item.name)) for item in given.shared}
            self.data = shared_list.replace(rows)
        finally:
            shared_list.close()
        for row in rows.values():
            if row.error:
                errors = self.run.shared_errors.setdefault(row.name, [])
                errors += [row.error] if row.error not in errors else []
            if row.accepted:
                self._request(row, self.options.state or given.state)

    def install(self) -> list[Path]:
        """Write the list."""
        return [self.write(self.file, self.data, 0o600, private=True)]

    def _row(self, item: SharedInstance, earlier: Row | None) -> Row:
        """Return what is to be known of a shared instance; one that is as it was is not looked at."""
        parameters = canonical(unwrap(item.parameters, redacted=False)).decode()
        digest = self.run.tokens.derived(f"{parameters} {self._rules}").hex()
        if earlier is not None and earlier.digest == digest:
            return earlier
        try:
            accepted = canonical(unwrap(self._checked(item), redacted=False)).decode()
        except AllotmentError as error:
            text = str(error)
            text = text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}..."
            return Row(item.name, digest, parameters, earlier.accepted if earlier is not None else "", text)
        return Row(item.name, digest, parameters, accepted, "")

    def _checked(self, item: SharedInstance) -> dict[str, Any]:
        parameters = unwrap(completed(dict(item.parameters), self.schema), redacted=False)
        if not is_checked():
            marked: dict[str, Any] = mark(parameters, self.schema)
            return marked
        from allotment.parameters import checked

        return checked(parameters, self.schema, f"shared instance '{item.name}'")

    def _request(self, row: Row, state: InstanceState) -> None:
        options = self.options
        name = f"{options.request_name_prefix}{row.name}"
        parameters = {**mark(json.loads(row.accepted), self.schema), **self.config}
        child = ChildRequest(name, options.release, options.software_type, state, parameters, self.sla, options.shared)
        self.run.request(self.name, child)
        answer = self.run.need_instance(self.name).answers.get(name)
        if answer is not None:
            chosen = options.return_ or tuple(answer.published)
            values = {key: answer.published[key] for key in chosen if key in answer.published}
            self.run.published_shared.setdefault(row.name, {}).update(values)

    def _split(self) -> tuple[dict[str, Any], dict[str, str]]:
        config: dict[str, Any] = {}
        sla: dict[str, str] = {}
        for option, text in self.options.others.items():
            if option.startswith(_CONFIG):
                config[option.removeprefix(_CONFIG)] = self.run.tokens.restore(value_of(text))
            elif option.startswith(_SLA):
                sla[option.removeprefix(_SLA)] = text
            else:
                raise unknown_option(option, _NAMES)
        return config, sla
