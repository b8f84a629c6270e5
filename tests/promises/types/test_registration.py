# SPDX-License-Identifier: Apache-2.0
import pkgutil

import allotment_promises.types
from allotment.plugins import plugins
from allotment_promises.registry import PromiseTypes


def test_every_type_is_registered_under_the_name_of_its_module() -> None:
    modules = {item.name for item in pkgutil.iter_modules(allotment_promises.types.__path__)}
    found = plugins().contributions("allotment_promise_types")
    ours = {item.item.name for item in found if item.item.target.startswith("allotment_promises.types.")}
    assert ours == modules
    assert not PromiseTypes(plugins())._problems
