# SPDX-License-Identifier: Apache-2.0
"""Recipe ``promise``: a check that the node makes again and again."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allotment.codec import dumps
from allotment.messages.promise import Phase, PromiseFile
from allotment.options import Lines, Mode, OptionProblem, Words, check_one_given, rest
from allotment_recipes.base import GenericBaseRecipe
from allotment_recipes.python_programs import base_python
from allotment_recipes.slapos_promises import COUNTERPARTS, PACKAGE

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_MOST = 1000  # runs that a promise may look back on
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_TRUE = ("1", "true", "yes", "y", "on")
# What SlapOS's modules have in common, and the field of ours that says it; some write _ for -.
_COMMON = {"failure-amount": "failures", "result-count": "window"}
# What a module that is run as it is says itself.
_ITS_OWN = ("timeout", "failures", "window", "over", "jitter", "only", "bang", "after")


@dataclass(frozen=True)
class Options:
    promise: str = ""  # the promise type
    name: str = ""  # the promise's name; default: the section's
    period: float = 0.0  # seconds between two runs; 0: as the promise type says, mostly 60
    timeout: float = 0.0  # seconds after which a run counts as failed; 0: as the promise type says, mostly 20
    failures: int = 0  # in operation it is broken when this many runs failed ...; 0: as the promise type says
    window: int = 0  # ... among this many newest ones; 0: as the promise type says
    over: float = 0.0  # ... that are not older than so many seconds; 0: as the promise type says
    jitter: float = 0.0  # seconds by which each run may come later than its time, at random
    only: Literal["", "test", "anomaly"] = ""  # run it after a deployment only, or in operation only; default: both
    bang: bool = False  # process the instance again when the promise breaks in operation
    after: Words = Words(())  # promises that explain this one's failure when they fail too
    mode: Mode = Mode(0o644)  # permissions of the file
    module: str = ""  # SlapOS's name of the promise type: a Python module, in whose place a type of ours is used
    file: Path | None = None  # SlapOS's name of a module of one's own, run as it is
    class_: str = "RunPromise"  # the class in a module that is run as it is
    eggs: Lines = Lines(())  # SlapOS's distributions of the module; paths says where they are
    paths: Lines = Lines(())  # folders that a module which is run as it is imports from, one a line
    output: Path | None = None  # SlapOS's name of the file, of which the last word, without suffix, is the name
    config: dict[str, str] = rest("config-")  # config-<option>: an option of the promise type

    def __post_init__(self) -> None:
        check_one_given(promise=self.promise, module=self.module, file=self.file)
        if self.name and self.output is not None:
            raise OptionProblem("name, output", "both name the promise", "Give one of them")


class Recipe(GenericBaseRecipe[Options]):
    """Write ``etc/promise/<name>.json``. The promise's own options are checked where promises run.

    With SlapOS's ``module`` some options of the check are the promise's: ``config-frequency`` is the period in
    minutes, ``config-result-count`` the window, ``config-failure-amount`` the failures, ``config-bang-on-failure`` the
    bang. Options that a type of ours calls otherwise are translated. A ``file``, and a module of
    ``slapos.promise.plugin`` for which there is no type, becomes ``etc/plugin/<name>.py``: the node runs it unchanged,
    in a process of its own that sees the folders in ``paths``.
    """

    def prepare(self) -> None:
        options = self.options
        named = options.name or (options.output.stem if options.output is not None else self.name)
        if not _NAME.fullmatch(named):
            option = "output" if options.output is not None else "name"
            raise OptionProblem(option, f"{named!r} is not a promise's name", "Use letters, digits, '-', '.', '_'")
        self.promise_name = named
        last = options.module.rpartition(".")[2]
        is_foreign = options.module.startswith(PACKAGE) or bool(options.paths)
        self.is_module = options.file is not None or (bool(options.module) and is_foreign and last not in COUNTERPARTS)
        if self.is_module:
            self._check_module()
        elif options.class_ != "RunPromise":
            raise OptionProblem("class", f"{options.class_!r} is not RunPromise", "Leave it out")
        elif options.module:
            self._prepare_from_slapos(last)
        else:
            self._prepare(options.promise, options.config, options.period, options.failures, options.window)

    def install(self) -> list[Path]:
        """Write the promise; one that holds a secret is private."""
        if self.is_module:
            return [self._write_module()]
        text = json.dumps(json.loads(dumps(self.document)), indent=2, ensure_ascii=False) + "\n"
        has_secret = any(not isinstance(value, str) for value in self.document.options.values())
        return [self.write(f"etc/promise/{self.promise_name}.json", text, self.options.mode, private=has_secret)]

    def _prepare_from_slapos(self, last: str) -> None:
        config = dict(self.options.config)
        period = 60 * self._taken(config, "frequency", self.options.period / 60)
        counts = {}
        for theirs, ours in _COMMON.items():
            old = theirs.replace("-", "_")
            given = theirs if theirs in config else old
            counts[ours] = self._taken_count(config, given, getattr(self.options, ours))
            config.pop(old, None)
        bang = config.pop("bang-on-failure", "").strip().lower() in _TRUE
        if (found := COUNTERPARTS.get(last)) is not None:
            last, config = found.type, found.options(config)
        self._prepare(last, config, period, counts["failures"], counts["window"], bang=bang)

    def _prepare(
        self, kind: str, config: dict[str, str], period: float, failures: int, window: int, *, bang: bool = False
    ) -> None:
        options = self.options
        for option, count in (("failures", failures), ("window", window)):
            if not 0 <= count <= _MOST:
                raise OptionProblem(option, f"{count} is not from 0 to {_MOST}", "Count fewer runs")
        if window and failures > window:
            raise OptionProblem("failures", f"{failures} is above window", "Look at more runs")
        if self.promise_name in options.after:
            raise OptionProblem("after", "a promise does not explain itself", f"Take {self.promise_name} out")
        try:
            self.document = PromiseFile(
                type=kind,
                options=self.run.tokens.restore(config),
                period=period,
                timeout=options.timeout,
                failures=failures,
                window=window,
                over=options.over,
                jitter=options.jitter,
                only=Phase(options.only),
                bang=options.bang or bang,
                after=tuple(options.after),
            )
        except ValueError as error:
            raise OptionProblem("period", str(error), "Write seconds, like 60") from error

    def _check_module(self) -> None:
        options = self.options
        for name, default in ((item.name, item.default) for item in dataclasses.fields(options)):
            if name in _ITS_OWN and getattr(options, name) != default:
                raise OptionProblem(name, "a module that is run as it is decides it itself", "Leave it out")
        name = options.file.stem if options.file is not None else options.module
        option = "module" if options.file is None else "file"
        if not _MODULE.fullmatch(name) or not _MODULE.fullmatch(options.class_):
            raise OptionProblem(f"{option}, class", f"{name}, {options.class_}: no names of Python", "Correct them")
        if options.file is None and not options.paths:
            what = f"no promise type stands for {name}, and nothing says where it is"
            raise OptionProblem("paths", what, "Give the folders of its distributions, like ${part:location}/lib")

    def _write_module(self) -> Path:
        """Write what SlapOS's promises begin with: the folders, what the check is told, and the class."""
        options = self.options
        paths = [str(self.path(path)) for path in options.paths]
        module = options.module
        if options.file is not None:
            module, paths = options.file.stem, [str(self.path(options.file).parent), *paths]
        config = dict(options.config)
        if options.period != Options.period:
            config.setdefault("frequency", f"{options.period / 60:g}")
        revealed = {name: self.run.tokens.reveal(value) for name, value in config.items()}
        lines = [
            f"#!{base_python()}",
            "import sys",
            "sys.path[0:0] = [",
            *(f"  {path!r}," for path in paths),
            "]",
            "extra_config_dict = {",
            *(f"  {name!r}: {value!r}," for name, value in revealed.items()),
            "}",
            f"from {module} import {options.class_} as RunPromise",
        ]
        text = "".join(f"{line}\n" for line in lines).encode()
        return self.write(f"etc/plugin/{self.promise_name}.py", text, options.mode, private=revealed != config)

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
