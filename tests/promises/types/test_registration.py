# SPDX-License-Identifier: Apache-2.0
import pkgutil
import sys

import allotment_promises.types
from allotment.options import describe_options
from allotment.plugins import load, plugins
from allotment_promises.registry import PromiseTypes


def test_every_type_is_registered_under_the_name_of_its_module() -> None:
    modules = {item.name for item in pkgutil.iter_modules(allotment_promises.types.__path__)}
    found = plugins().contributions("allotment_promise_types")
    ours = {item.item.name for item in found if item.item.target.startswith("allotment_promises.types.")}
    assert ours == modules
    assert not PromiseTypes(plugins())._problems


def test_every_type_and_each_of_its_options_is_documented() -> None:
    for item in plugins().items("allotment_promise_types"):
        cls = load(item.target)
        assert cls.__doc__, item.name
        for option in describe_options(sys.modules[cls.__module__].Options):
            assert option.doc, f"{item.name}: {option.name}"
