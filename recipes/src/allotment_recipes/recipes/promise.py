# SPDX-License-Identifier: Apache-2.0
"""Recipe ``promise``: a check that the node makes again and again."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from allotment.codec import dumps
from allotment.messages.promise import PromiseFile
from allotment.options import Lines, Mode, OptionProblem, check_one_given, rest
from allotment_recipes.base import GenericBaseRecipe

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")

_MOST = 20  # runs that the node remembers
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


@dataclass(frozen=True)
class Options:
    promise: str = ""  # the promise type
    name: str = ""  # the promise's name; default: the section's
    period: float = 60.0  # seconds between two runs
    timeout: float = 20.0  # seconds after which a run counts as failed
    failures: int = 0  # in operation it is broken when this many runs failed ...; 0: as the promise type says
    window: int = 0  # ... among this many newest ones; 0: as the promise type says
    mode: Mode = Mode(0o644)  # permissions of the file
    module: str = ""  # SlapOS's name of the promise type: the Python module, of which the last word counts
    file: str = ""  # SlapOS's name of a module of one's own, which is refused
    class_: str = "RunPromise"  # the class in SlapOS's module; no other one is known
    eggs: Lines = Lines(())  # SlapOS's distributions of the module; promise types are where the node is
    output: Path | None = None  # SlapOS's name of the file, of which the last word, without suffix, is the name
    config: dict[str, str] = rest("config-")  # config-<option>: an option of the promise type

    def __post_init__(self) -> None:
        check_one_given(promise=self.promise, module=self.module or self.file)
        if self.name and self.output is not None:
            raise OptionProblem("name, output", "both name the promise", "Give one of them")


class Recipe(GenericBaseRecipe[Options]):
    """Write ``etc/promise/<name>.json``. The promise's own options are checked where promises run.

    With SlapOS's ``module`` three options of the check are the promise's: ``config-frequency`` is the period in
    minutes, ``config-result-count`` the window, ``config-failure-amount`` the failures.
    """

    def prepare(self) -> None:
        options = self.options
        named = options.name or (options.output.stem if options.output is not None else self.name)
        if not _NAME.fullmatch(named):
            option = "output" if options.output is not None else "name"
            raise OptionProblem(option, f"{named!r} is not a promise's name", "Use letters, digits, '-', '.', '_'")
        self.promise_name = named
        if options.file:
            fix = "Make it an executable in etc/promise, or a promise type of a plugin"
            raise OptionProblem("file", "Python files are not loaded into the node", fix)
        if options.class_ != "RunPromise":
            raise OptionProblem("class", f"{options.class_!r} is not RunPromise", "Leave it out")
        config = dict(options.config)
        period, failures, window = options.period, options.failures, options.window
        if options.module:
            period = 60 * self._taken(config, "frequency", period / 60)
            failures = self._taken_count(config, "failure-amount", failures)
            window = self._taken_count(config, "result-count", window)
        for option, count in (("failures", failures), ("window", window)):
            if not 0 <= count <= _MOST:
                raise OptionProblem(option, f"{count} is not from 0 to {_MOST}", "Count fewer runs")
        if window and failures > window:
            raise OptionProblem("failures", f"{failures} is above window", "Look at more runs")
        try:
            self.document = PromiseFile(
                type=options.promise or options.module.rpartition(".")[2],
                options=self.run.tokens.restore(config),
                period=period,
                timeout=options.timeout,
                failures=failures,
                window=window,
            )
        except ValueError as error:
            raise OptionProblem("period", str(error), "Write seconds, like 60") from error

    def install(self) -> list[Path]:
        """Write the promise file; one that holds a secret is private."""
        text = json.dumps(json.loads(dumps(self.document)), indent=2, ensure_ascii=False) + "\n"
        has_secret = any(not isinstance(value, str) for value in self.document.options.values())
        return [self.write(f"etc/promise/{self.promise_name}.json", text, self.options.mode, private=has_secret)]

    def _taken_count(self, config: dict[str, str], name: str, default: int) -> int:
        number = float(self._taken(config, name, default))
        if not number.is_integer():
            raise OptionProblem(f"config-{name}", f"{number:g} is not a whole number", "Write it like 3")
        return int(number)

    @staticmethod
    def _taken(config: dict[str, str], name: str, default: float) -> float:
        """Take a number that is the promise's, not the check's."""
        text = config.pop(name, "").strip()
        if text and not _NUMBER.fullmatch(text):
            raise OptionProblem(f"config-{name}", f"{text!r} is not a number", "Write it like 5")
        return float(text) if text else default
