# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the parts of a build, as it is handed from a child to its parent, and told together."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import zc.buildout

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.free_space import FULL

_SHOWN: Final = 12  # parts that could not be built, in an error


@dataclass(frozen=True)
class Failure:
    """Why a part could not be built."""

    what: str
    fix: str = ""
    is_machine: bool = False  # the machine is at fault, not what was to be built

    def error(self) -> AllotmentError:
        return (MachineError if self.is_machine else AllotmentError)(self.what, self.fix)


def describe(error: BaseException) -> Failure:
    """Return an error as what is told; a recipe's bug with its traceback in the log."""
    if isinstance(error, AllotmentError):
        return Failure(error.what, error.fix, isinstance(error, MachineError))
    if isinstance(error, zc.buildout.UserError):
        return Failure(str(error).removesuffix("."))
    traceback.print_exception(error)
    if isinstance(error, OSError):
        is_full = error.errno in FULL
        fix = "Make space and build again: what is whole is kept" if is_full else ""
        return Failure(f"{error.filename or type(error).__name__}: {error.strerror or error}", fix, is_full)
    return Failure(f"{type(error).__name__}: {error}")


def together(failures: Sequence[Failure], others: Sequence[str]) -> AllotmentError:
    """Return one error for all; ``others`` are the parts that were not built because of them."""
    if len(failures) == 1 and not others:
        return failures[0].error()
    listed = [str(failure.error()) for failure in failures]
    head = f"{len(failures)} parts could not be built:\n" if len(failures) > 1 else ""
    rest = ""
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        rest = f"\nnot built, because they need {'one of them' if head else 'it'}: {', '.join(others[:_SHOWN])}{more}"
    kind = MachineError if all(failure.is_machine for failure in failures) else AllotmentError
    return kind((head + "\n".join(listed) + rest).removesuffix("."))
