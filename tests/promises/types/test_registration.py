# SPDX-License-Identifier: Apache-2.0
import ast
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

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


def test_every_metric_is_documented() -> None:
    for item in plugins().items("allotment_promise_types"):
        cls = load(item.target)
        told = (cls.__doc__ or "").partition("Metrics: ")[2]
        missing = {name for name in _metrics(sys.modules[cls.__module__]) if f"``{name}``" not in told}
        assert not missing, f"{item.name}: say in its docstring, after 'Metrics:', what {missing} are"


def _metrics(module: ModuleType) -> Iterator[str]:
    """Yield the names that a module's text gives to metrics."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Dict):
            yield from (
                ast.literal_eval(key)
                for key, value in zip(node.keys, node.values, strict=True)
                if key is not None and _is_call(value, "Metric")
            )
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript)
            and _is_call(node.value, "Metric")
        ):
            yield ast.literal_eval(node.targets[0].slice)
        elif isinstance(node, ast.Call) and (_is_call(node, "passed") or _is_call(node, "failed")):
            yield from (keyword.arg for keyword in node.keywords if keyword.arg)


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
