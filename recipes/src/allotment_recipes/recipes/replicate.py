# SPDX-License-Identifier: Apache-2.0
"""Recipe ``replicate``: ask for several instances that differ in nothing but their name."""

from dataclasses import dataclass
from typing import Final

from allotment.messages.instance import ChildRequest, InstanceState
from allotment.messages.manifest import DEFAULT_TYPE
from allotment.options import OptionProblem, Words, rest
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.values import text_of
from allotment_recipes.waiting import Waiting

_MOST: Final = 1000  # children; a tenant's parameter may say how many


@dataclass(frozen=True)
class Options:
    name: str  # the children are called <name>-1, <name>-2 and so on
    count: int  # how many
    release: str  # name of a release, or sha256 of a manifest; ${slap-configuration:manifest} is the same as ours
    software_type: str = DEFAULT_TYPE  # which kind of instance
    state: InstanceState | None = None  # default: the state that is wanted of this instance
    return_: Words = Words(())  # published values without which this part waits; each becomes connection-<key>
    config: dict[str, str] = rest("config-")  # config-<key>: a parameter of each child, as text


class Recipe(GenericBaseRecipe[Options]):
    """Request ``count`` children; sets ``connection-<key>``: what each published, one a line, in their order.

    With a smaller ``count`` the last ones go. Until all have published every key of ``return``, this part and those
    that refer to it *wait*.
    """

    def prepare(self) -> None:
        given = self.run.need_instance(self.name)
        options = self.options
        for option, text in (("name", options.name), ("release", options.release)):
            if not text:
                raise OptionProblem(option, "is empty", "Write it")
        if not 0 <= options.count <= _MOST:
            raise OptionProblem(
                "count", f"{options.count} is not from 0 to {_MOST}", "Write how many children you want"
            )
        names = [f"{options.name}-{number}" for number in range(1, options.count + 1)]
        for name in names:
            child = ChildRequest(
                name=name,
                release=options.release,
                software_type=options.software_type,
                state=options.state or given.state,
                parameters=self.run.tokens.restore(dict(options.config)),
            )
            self.run.request(self.name, child)
        for key in options.return_:
            self.publish_option(f"connection-{key}", "\n".join(self._published(name, key) for name in names))

    def _published(self, name: str, key: str) -> str:
        answer = self.run.need_instance(self.name).answers.get(name)
        if answer is None or key not in answer.published:
            raise Waiting(f"child '{name}' has not published '{key}' yet")
        return text_of(self.run.tokens.hide(answer.published[key]))
