# SPDX-License-Identifier: Apache-2.0
"""Recipe ``slapconfiguration``: what the world says to this instance, as options of a section."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from allotment.errors import AllotmentError
from allotment.messages.instance import InstanceInput, SharedInstance
from allotment.options import OptionProblem
from allotment.secret import Secret, mark, revealed, unwrap
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.parameters import completed, is_checked, read_schema, schemas_of, unstringified
from allotment_recipes.values import strict_json

_LONGEST_ERROR: Final = 500  # characters: thousands of tenants' errors must fit into one file of 1 MB
_VALID: Final = ("shared-instances", "slave-instance-list")
_INVALID: Final = ("invalid-shared-instances", "invalid-slave-instance-list")
_WHOLE: Final = "_"  # the one parameter that holds all others as JSON, in SlapOS's serialisation


class Whose(StrEnum):
    """Whose parameters are meant: those of the instance itself, of the shared instances in it, of both, of none."""

    MAIN = "main"
    SHARED = "shared"
    ALL = "all"
    NONE = "none"


class Serialisation(StrEnum):
    """How parameters are written: JSON values, texts only, or one parameter ``_`` that is a JSON text of all."""

    JSON = "json"
    XML = "xml"
    JSON_IN_XML = "json-in-xml"


@dataclass(frozen=True)
class Options:
    jsonschema: Path | None = None  # JSON schema of the parameters, or a release's software.cfg.json that names it
    shared_jsonschema: Path | None = None  # JSON schema of the parameters of each shared instance
    serialisation: Serialisation = Serialisation.JSON  # how parameters come; json-in-xml reads plain ones too
    validate_parameters: Whose = Whose.ALL  # whose parameters are checked against the schema
    set_default: Whose = Whose.ALL  # whose absent parameters get the schema's defaults
    unstringify: Whose = Whose.NONE  # whose texts are read as JSON where the schema wants another type
    report_error: Whose = Whose.ALL  # whose errors are told to who requested; without main, wrong ones fail no run
    storage_home: Path | None = None  # folder of disks; <disk>/<partition> in it is linked to as DATA/<disk>


class Recipe(GenericBaseRecipe[Options]):
    """Read ``.allotment/instance.json``; sets these options and writes nothing but links to disks.

    ``address`` (the first), ``addresses`` (one a line), ``ipv4-random``, ``ipv6-random`` (the first of each kind),
    ``ipv4``, ``ipv6`` (JSON lists), ``instance``, ``instance-guid``, ``instance-title``, ``root-instance-title``,
    ``node``, ``computer``, ``slap-computer-id``, ``partition``, ``slap-computer-partition-id``, ``state``,
    ``instance-state``, ``slap-software-type``, ``manifest``, ``slap-software-release-url``, ``configuration`` (all
    parameters as JSON), ``configuration.<name>`` (each; what is no text is JSON), ``configuration-errors`` (JSON),
    ``shared-instances`` (JSON list of ``name`` and ``parameters``, the valid ones), ``invalid-shared-instances`` (with
    ``errors``), ``slave-instance-list`` and ``invalid-slave-instance-list`` (the same in SlapOS's form),
    ``storage-dict`` (JSON). Parameters are checked where the extra ``allotment.recipes[schema]`` is installed.
    """

    def prepare(self) -> None:
        given = self.run.need_instance(self.name)
        self._publish_place(given)
        main, shared = self._schemas(given.software_type)
        self._publish_parameters(given, main)
        self._publish_shared(given, shared)
        self.disks = self._disks(given.partition)
        self.publish_option("storage-dict", _json({disk: str(link) for disk, (link, _) in self.disks.items()}))

    def install(self) -> list[Path]:
        """Link to the partition's folder on each disk; the data there is never touched."""
        return [self.link(link, target) for link, target in self.disks.values()]

    def _publish_place(self, given: InstanceInput) -> None:
        addresses = given.addresses
        kinds: dict[int, list[str]] = {4: [], 6: []}
        for address in addresses:
            kinds[ipaddress.ip_address(address).version].append(address)
        texts = {
            "address": addresses[0] if addresses else "",
            "addresses": "\n".join(addresses),
            "ipv4": _json(kinds[4]),
            "ipv6": _json(kinds[6]),
            "ipv4-random": kinds[4][0] if kinds[4] else "",
            "ipv6-random": kinds[6][0] if kinds[6] else "",
            "instance": given.instance,
            "instance-guid": given.instance,
            "instance-title": given.name,
            "root-instance-title": given.tree,
            "node": given.node,
            "computer": given.node,
            "slap-computer-id": given.node,
            "partition": given.partition,
            "slap-computer-partition-id": given.partition,
            "state": given.state.value,
            "instance-state": given.state.value,
            "slap-software-type": given.software_type,
            "manifest": given.manifest,
            "slap-software-release-url": given.manifest,
        }
        for option, text in texts.items():
            self.publish_option(option, text)

    def _schemas(self, software_type: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the schemas for the instance and for shared ones; one that accepts anything where there is none."""
        main = shared = None
        if self.options.jsonschema is not None:
            main, shared = schemas_of(self.path(self.options.jsonschema), software_type, "jsonschema")
        if self.options.shared_jsonschema is not None:
            shared = self.path(self.options.shared_jsonschema)
        option = "jsonschema" if self.options.shared_jsonschema is None else "shared-jsonschema"
        return (
            read_schema(main, "jsonschema") if main is not None else {},
            read_schema(shared, option) if shared is not None else {},
        )

    def _publish_parameters(self, given: InstanceInput, schema: dict[str, Any]) -> None:
        errors = []
        try:
            parameters = self._read(given.parameters, schema, Whose.MAIN, f"[{self.name}] configuration")
        except AllotmentError as error:
            if self.options.report_error in (Whose.MAIN, Whose.ALL):
                raise
            errors.append(str(error))
            parameters = mark(dict(given.parameters), schema)
        hidden = self.run.tokens.hide(parameters)
        self.publish_option("configuration", _json(hidden))
        for name, value in hidden.items():
            self.publish_option(f"configuration.{name}", value if isinstance(value, str) else _json(value))
        self.publish_option("configuration-errors", _json(errors))

    def _publish_shared(self, given: InstanceInput, schema: dict[str, Any]) -> None:
        found = [self._shared(item, schema) for item in given.shared]
        for names, is_wrong in ((_VALID, False), (_INVALID, True)):
            chosen = [item for item in found if bool(item.errors) is is_wrong]
            self.publish_option(names[0], _json([item.described() for item in chosen]))
            self.publish_option(names[1], _json([self._as_slave(item, bool(schema)) for item in chosen]))
        if self.options.report_error in (Whose.SHARED, Whose.ALL):
            self.run.shared_errors.update({item.name: item.errors for item in found if item.errors})

    def _shared(self, item: SharedInstance, schema: dict[str, Any]) -> "_Shared":
        hide = self.run.tokens.hide
        try:
            parameters = self._read(item.parameters, schema, Whose.SHARED, f"shared instance '{item.name}'")
        except AllotmentError as error:
            text = str(error)
            text = text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}..."
            return _Shared(item.name, hide(mark(dict(item.parameters), schema)), [text])
        return _Shared(item.name, hide(parameters), [])

    def _read(self, given: Mapping[str, Any], schema: dict[str, Any], whose: Whose, where: str) -> dict[str, Any]:
        """Return parameters as JSON with defaults filled in and secrets marked; wrong ones are an error."""
        parameters = self._deserialised(dict(given), where)
        if self._applies(self.options.unstringify, whose):
            parameters = unstringified(parameters, schema)
        if self._applies(self.options.set_default, whose):
            parameters = completed(parameters, schema)
        parameters = unwrap(parameters, redacted=False)
        if not is_checked() or not self._applies(self.options.validate_parameters, whose):
            marked: dict[str, Any] = mark(parameters, schema)
            return marked
        from allotment.parameters import checked

        return checked(parameters, schema, where)

    @staticmethod
    def _applies(chosen: Whose, whose: Whose) -> bool:
        return chosen in (whose, Whose.ALL)

    def _deserialised(self, parameters: dict[str, Any], where: str) -> dict[str, Any]:
        """Undo the serialisation; a secret text of JSON gives secret texts."""
        if self.options.serialisation is not Serialisation.JSON_IN_XML or _WHOLE not in parameters:
            return parameters
        whole = parameters[_WHOLE]
        try:
            found = strict_json(revealed(whole))
        except (TypeError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise AllotmentError(f"{where}: parameter {_WHOLE} is not a JSON object", "Write all parameters in it")
        if isinstance(whole, Secret):
            found = mark(found, {"writeOnly": True})
        return found

    def _as_slave(self, item: "_Shared", has_schema: bool) -> dict[str, Any]:
        """Return a shared instance in SlapOS's form: its parameters beside its names, which no parameter replaces."""
        software_type = self.run.need_instance(self.name).software_type
        names: dict[str, Any] = {"slave_reference": item.name, "slave_title": item.name}
        names["slap_software_type"] = software_type
        if has_schema:
            names |= {"reference": item.name, **item.described()}
        if self.options.serialisation is not Serialisation.JSON_IN_XML:
            return {**item.parameters, **names}
        return {_WHOLE: _json(item.parameters), **names}

    def _disks(self, partition: str) -> dict[str, tuple[Path, Path]]:
        """Return link and target for each disk that has a folder of this partition."""
        home = self.options.storage_home
        if home is None:
            return {}
        try:
            targets = sorted(disk / partition for disk in home.iterdir() if (disk / partition).is_dir())
        except FileNotFoundError:  # this node has no disks
            return {}
        except OSError as error:
            raise OptionProblem(
                "storage-home", f"{home} can't be read: {error.strerror}", "Correct the path"
            ) from error
        return {target.parent.name: (self.path("DATA") / target.parent.name, target) for target in targets}


@dataclass(frozen=True)
class _Shared:
    """A shared instance whose parameters are read; with errors they are as they were given."""

    name: str
    parameters: dict[str, Any]
    errors: list[str]

    def described(self) -> dict[str, Any]:
        found: dict[str, Any] = {"name": self.name, "parameters": self.parameters}
        return {**found, "errors": self.errors} if self.errors else found


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
