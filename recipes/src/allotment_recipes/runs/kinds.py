# SPDX-License-Identifier: Apache-2.0
"""A buildout run by its kind: plain JSON data in and out. ``zygote`` calls it in its forks, ``engine`` asks for it."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import zc.buildout

from allotment.errors import AllotmentError, MachineError
from allotment_recipes.free_space import FULL
from allotment_recipes.runs import build, instance, profile


def run(kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one run; every failure becomes ``{"error": text}``, a recipe's bug with its traceback in the log."""
    try:
        return _KINDS[kind](request)
    except MachineError as error:
        return {"error": str(error), "cause": "machine"}
    except (AllotmentError, zc.buildout.UserError) as error:
        return {"error": str(error)}
    except OSError as error:
        what = f"{error.filename or type(error).__name__}: {error.strerror or error}"
        if error.errno in FULL:
            return {"error": f"{what}. Make space and build again: what is whole is kept.", "cause": "machine"}
        traceback.print_exc()
        return {"error": what}
    except Exception as error:  # a recipe may fail in any way: said in one line here, in full in the log
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "build": build.build,
    "survey": build.survey,
    "check": build.check,
    "instance": instance.instance,
    "read": profile.read,
    "lock": profile.lock,
    "sources": profile.sources,
}
