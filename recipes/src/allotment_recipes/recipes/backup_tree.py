# SPDX-License-Identifier: Apache-2.0
"""Recipe ``backup.tree``: a main instance, standby instances, and a backup instance between it and each of them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from allotment.messages.instance import ChildRequest
from allotment.options import OptionProblem, Words, rest
from allotment_recipes.base import GenericBaseRecipe, unknown_option
from allotment_recipes.resilience import succession
from allotment_recipes.resilience.succession import MAIN, PULL, PULL_AND_PUSH, STANDBY, SUPERSEDED, WAITING
from allotment_recipes.resilience.takeover import Takeover
from allotment_recipes.values import json_object, text_of, value_of
from allotment_recipes.waiting import Waiting

_MOST: Final = 100  # standby instances; a tenant's parameter may say how many
_STANDBY: Final = re.compile(r"standby-[1-9][0-9]*")
_ADDRESS: Final = ("host", "port", "user", "host-key")
_CONFIG, _SLA = "config-", "sla-"
_OWN: Final = ("standbys", "dismissed", "resilience")  # parameters that are not the children's


@dataclass(frozen=True)
class Options:
    release: str  # name of a release, or sha256 of a manifest; ${slap-configuration:manifest} is the same as ours
    data_type: str  # software type of the instances that hold the data
    backup_type: str  # software type of the backup instances
    standbys: int = 1  # how many
    dismissed: Words = Words(())  # names of instances that go with their data, such as main when its place was taken
    parameters: str = "{}"  # of those that hold the data, as a JSON object; standbys and dismissed in it are left out
    return_: Words = Words(())  # published values of the main one without which this waits; connection-<key>
    others: dict[str, str] = rest()  # config-<key>: a parameter, as text; sla-<key>: where children run, empty for none


class Recipe(GenericBaseRecipe[Options]):
    """Request ``main``, ``standby-1`` ... and ``backup-1`` ...; hand keys and addresses from each to those who need it.

    Children get the parameter ``resilience``, which ``backup.role`` reads, and publish what sections of the profile
    ``stack/resilience.cfg`` publish. Others read ``main``, the name of the main instance, which a takeover changes, and
    ``connection-<key>``: what that one publishes. Until it has, this part and those that refer to it *wait*.
    """

    def prepare(self) -> None:
        options = self.options
        if not 0 <= options.standbys <= _MOST:
            raise OptionProblem("standbys", f"{options.standbys} is not from 0 to {_MOST}", "Write how many you want")
        self.answers = self._answers()
        takeovers = dict(self._takeovers())
        line = succession.line(takeovers, options.dismissed)
        self.main = line[-1]
        self.since = takeovers[self.main].moment if self.main in takeovers else ""
        planned = [f"standby-{number}" for number in range(1, options.standbys + 1)]
        names = list(dict.fromkeys((*line, *planned, *takeovers)))
        self._check_dismissed()
        was_main = {*line, *takeovers}
        kept = [name for name in names if name not in options.dismissed]
        self.roles = {name: SUPERSEDED if name in was_main else STANDBY for name in kept}
        self.roles[self.main] = MAIN
        self._request_all()
        self.publish_option("main", self.main)
        for key in options.return_:
            self.publish_option(f"connection-{key}", self._published(key))

    def _answers(self) -> Mapping[str, Mapping[str, Any]]:
        """Return by child what it publishes, secrets hidden."""
        given = self.run.need_instance(self.name).answers
        return {name: self.run.tokens.hide(dict(answer.published)) for name, answer in given.items()}

    def _told(self, name: str, *keys: str) -> tuple[str, ...]:
        return tuple(text_of(self.answers.get(name, {}).get(key, "")) for key in keys)

    def _takeovers(self) -> Iterator[tuple[str, Takeover]]:
        for name in filter(_STANDBY.fullmatch, self.answers):
            over, *fields = self._told(
                name, "is-taken-over", "takeover-moment", "takeover-generation", "takeover-predecessor"
            )
            if over == "true":
                yield name, Takeover(*fields)

    def _check_dismissed(self) -> None:
        for name in self.options.dismissed:
            if name == self.main:
                raise OptionProblem(
                    "dismissed",
                    f"{name} is the main instance",
                    "Leave it out, or let a standby instance take over first",
                )
            if name != succession.FIRST and not _STANDBY.fullmatch(name):
                raise OptionProblem("dismissed", f"{name!r} is no name of one", "Write it like main, or like standby-1")

    def _request_all(self) -> None:
        config, sla = self._split()
        parameters = {**json_object("parameters", self.options.parameters), **config}
        parameters = {key: value for key, value in parameters.items() if key not in _OWN}
        numbers = range(1, self.options.standbys + 1)
        for name, role in self.roles.items():
            keys = self._keys([number for number in numbers if role == MAIN or name == f"standby-{number}"])
            told = {"role": role, "main": self.main, "since": self.since, "backup-keys": keys}
            self._request(name, self.options.data_type, parameters, told, sla)
        for number in numbers:
            told = self._ways(f"standby-{number}")
            self._request(f"backup-{number}", self.options.backup_type, {}, told, sla)

    def _request(
        self, name: str, software_type: str, parameters: dict[str, Any], told: dict[str, str], sla: Mapping[str, str]
    ) -> None:
        state = self.run.need_instance(self.name).state
        all_of_it = {**self.run.tokens.restore(parameters), "resilience": json.dumps(told, sort_keys=True)}
        self.run.request(self.name, ChildRequest(name, self.options.release, software_type, state, all_of_it, sla))

    def _split(self) -> tuple[dict[str, Any], dict[str, str]]:
        config, sla = {}, {}
        for option, text in self.options.others.items():
            if option.startswith(_CONFIG):
                config[option.removeprefix(_CONFIG)] = value_of(text)
            elif option.startswith(_SLA):
                sla[option.removeprefix(_SLA)] = text
            else:
                names = ("release", "data-type", "backup-type", "standbys", "dismissed", "parameters", "return")
                raise unknown_option(option, (*names, _CONFIG, _SLA))
        return config, {name: text for name, text in sla.items() if text}

    def _keys(self, numbers: list[int]) -> str:
        """Return the public keys of backup instances that have told them, one a line."""
        return "\n".join(key for number in numbers for key in self._told(f"backup-{number}", "backup-key") if key)

    def _ways(self, standby: str) -> dict[str, str]:
        """Return what the backup instance before a standby instance is told: where to pull from and to push to."""
        pull, push = self._address("pull", self.main), {}
        if self.roles.get(standby) == STANDBY:
            push = self._address("push", standby)
        if not pull:
            return {"role": WAITING}
        return {"role": PULL_AND_PUSH if push else PULL, **pull, **push}

    def _address(self, prefix: str, name: str) -> dict[str, str]:
        """Return where an instance is; nothing before it has told all of it."""
        found = self._told(name, *(f"backup-{field}" for field in _ADDRESS))
        return {f"{prefix}-{field}": text for field, text in zip(_ADDRESS, found, strict=True)} if all(found) else {}

    def _published(self, key: str) -> str:
        if key not in self.answers.get(self.main, {}):
            raise Waiting(f"child '{self.main}' has not published '{key}' yet")
        return text_of(self.answers[self.main][key])
