# SPDX-License-Identifier: Apache-2.0
"""Conditions of sections, ``[name:condition]``: a marker as of pip, or a small part of Python that can do no harm.

zc.buildout evaluates any Python here. What profiles compare is the machine and the Python that runs.
"""

import ast
import operator
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import zc.buildout.buildout
from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

_VALUES: Final[Mapping[str, Any]] = {
    "sys.version_info": sys.version_info,
    "sys.version": sys.version,
    "sys.platform": sys.platform,
    "sys.maxsize": sys.maxsize,
    "sys.byteorder": sys.byteorder,
    "sys.hexversion": sys.hexversion,
    "sys.implementation.name": sys.implementation.name,
    "os.name": os.name,
    "os.sep": os.sep,
    "os.environ": os.environ,
}
_PLATFORM: Final[Mapping[str, Callable[[], Any]]] = {  # some would open the file that an argument names
    f"platform.{name}": getattr(platform, name) for name in (
        "architecture", "libc_ver", "machine", "node", "platform", "processor", "python_implementation",
        "python_version", "python_version_tuple", "release", "system", "uname", "version",
    )
}  # fmt: skip
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **{f"os.path.{name}": getattr(os.path, name) for name in ("exists", "isdir", "isfile", "join", "basename")},
    "os.uname": os.uname,
    "os.getenv": os.getenv,
    "len": len,
    "int": int,
    "tuple": tuple,
    "bool": bool,
}  # fmt: skip
_REGULAR: Final = frozenset({"re.match", "re.search", "re.fullmatch"})
_METHODS: Final = frozenset({"startswith", "endswith", "lower", "upper", "strip", "split", "get", "group"})
_COMPARISONS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}
_BITS: Final = 64  # largest exponent: 2**32 and the like tell word sizes
_TEXT: Final = 150  # characters that a regular expression may look at, and have
_REPEATS: Final = 2  # in one of them, none of a group: more could take for ever
_CHOICES: Final = 5  # in one of them: each may double the time


def holds(condition: str) -> bool:
    """Return whether a condition is true here; one that can't be judged is a ``ValueError``."""
    try:
        try:
            return bool(Marker(condition).evaluate())
        except InvalidMarker:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes and the like: nobody can act on them here
                tree = ast.parse(condition.strip(), mode="eval")
            return bool(_value(tree.body))
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ValueError(f"can't be judged: {error}") from error
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("is neither a marker nor an expression") from error
    except ValueError:
        raise
    except Exception as error:  # of a comparison or a method: whatever its types make of it
        raise ValueError(f"can't be judged: {type(error).__name__}: {error}") from error


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.BoolOp(op=ast.And(), values=values):
            return _chain(values, stops_at=False)
        case ast.BoolOp(values=values):
            return _chain(values, stops_at=True)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.IfExp(test=test, body=body, orelse=other):
            return _value(body) if _value(test) else _value(other)
        case ast.BinOp(left=left, op=operation, right=right):
            return _sum(_value(left), operation, _value(right))
        case ast.Compare(left=left, ops=operations, comparators=others):
            return _compared(_value(left), operations, others)
        case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper, step=None)):
            return _value(value)[lower and _value(lower) : upper and _value(upper)]
        case ast.Subscript(value=value, slice=index):
            return _value(value)[_value(index)]
        case ast.Call(func=function, args=arguments, keywords=[]):
            return _called(function, [_value(argument) for argument in arguments])
    return _named(node)


def _chain(values: list[ast.expr], *, stops_at: bool) -> Any:
    found = None
    for value in values:
        found = _value(value)
        if bool(found) is stops_at:
            break
    return found


def _compared(left: Any, operations: list[ast.cmpop], others: list[ast.expr]) -> bool:
    for operation, other in zip(operations, others, strict=True):
        right = _value(other)
        if not _COMPARISONS[type(operation)](left, right):
            return False
        left = right
    return True


def _sum(left: Any, operation: ast.operator, right: Any) -> Any:
    if isinstance(operation, ast.Add):
        return left + right
    if isinstance(left, int) and isinstance(right, int):
        if isinstance(operation, ast.Sub):
            return left - right
        if isinstance(operation, ast.Pow | ast.LShift) and 0 <= right <= _BITS and abs(left) < 1 << 16:
            return left**right if isinstance(operation, ast.Pow) else left << right
    raise ValueError("reckons with more than + - and small powers")


def _called(function: ast.expr, arguments: list[Any]) -> Any:
    name = ast.unparse(function)
    if name in _PLATFORM:
        if arguments:
            raise ValueError(f"gives {name} arguments, which conditions can't")
        return _PLATFORM[name]()
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](*arguments)
    if name in _REGULAR:
        return _matched(name, *arguments)
    if isinstance(function, ast.Attribute) and function.attr in _METHODS:
        return getattr(_value(function.value), function.attr)(*arguments)
    raise ValueError(f"calls {name}, which conditions can't")


def _matched(name: str, pattern: str, text: str) -> Any:
    """Look for a regular expression that can't take long."""
    if len(pattern) > _TEXT or len(text) > _TEXT:
        raise ValueError(f"has a regular expression, or a text for it, of more than {_TEXT} characters")
    plain = re.sub(r"\\.", "", pattern, flags=re.DOTALL)  # nothing is escaped in it
    if (
        len(re.findall(r"[*+{]", plain)) > _REPEATS
        or len(re.findall(r"(?<!\()\?|\|", plain)) > _CHOICES
        or re.search(r"\)[*+{]|\(\?[a-z]*x", plain)  # of a group, perhaps behind a space
    ):
        raise ValueError("has a regular expression that could take too long")
    return getattr(re, name.partition(".")[2])(pattern, text)


def _named(node: ast.AST) -> Any:
    name = ast.unparse(node)
    if isinstance(node, ast.Attribute) and name not in _VALUES and re.fullmatch(r"sys\.version_info\.[a-z]+", name):
        return getattr(sys.version_info, node.attr)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call) and node.attr[0] != "_":
        return getattr(_value(node.value), node.attr)  # platform.uname().machine
    known = {name: value for name, value in zc.buildout.buildout._default_globals().items() if value in (True, False)}
    if name in known:
        return known[name]
    if name in _VALUES:
        return _VALUES[name]
    raise ValueError(f"names {name}, which conditions don't know")
