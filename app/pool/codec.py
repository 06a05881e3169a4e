"""Dataclasses as JSON and back, with what their fields may be.

Unknown fields are ignored, so that those of neighbouring versions understand each other. What is wrong is refused
before anybody works with it: a field that is missing, of the wrong shape or out of its range.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import math
import re
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union

from app.pool.model import TextEnum

T = TypeVar("T")
UNIONS = (Union, getattr(types, "UnionType", Union))  # Union[A, B], and A | B since Python 3.10
SCALARS = frozenset({str, int, float, bool, type(None)})
Build = Callable[[Any], Any]


@dataclass(frozen=True)
class Within:
    """An annotation: the bounds of a number, both included; NaN lies in none."""

    least: float
    most: float

    def holds(self, value: float) -> bool:
        """True for a number within the bounds."""
        return self.least <= value <= self.most


@dataclass(frozen=True)
class Like:
    """An annotation: the pattern that a whole text must match."""

    pattern: str

    def holds(self, value: str) -> bool:
        """True for a text that matches."""
        return re.fullmatch(self.pattern, value) is not None


def to_json(value: Any) -> str:
    """A dataclass as compact JSON; fields at their default None are kept, order is declaration order."""
    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def plain(value: Any) -> Any:
    """A dataclass as dicts, lists and scalars."""
    kind: Any = type(value)
    if kind in SCALARS:
        return value
    names = _names(kind)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@cache
def _names(kind: Any) -> tuple[str, ...] | None:
    """The names of a dataclass's fields; None for another kind. Kept: one job's envelope needs fifty look-ups."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def nested(value: Any) -> int:
    """The levels of lists and dicts in a value. No recursion: the caller asks so that a later one is safe."""
    levels, within = 0, [value]
    while within := [each for each in within if isinstance(each, (list, tuple, dict))]:
        levels += 1
        within = [item for each in within for item in (each.values() if isinstance(each, dict) else each)]
    return levels


def from_json(kind: type[T], text: str | bytes) -> T:
    """The dataclass that a JSON text describes; unknown fields are ignored.

    Raises ValueError (json.JSONDecodeError is one) when a field is missing, of the wrong shape or out of its range,
    and for numbers that JSON does not have (NaN, Infinity), wherever they stand.
    """
    try:
        return from_plain(kind, parsed(text))
    except OverflowError as error:
        raise ValueError("too large a number") from error


def parsed(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for NaN, an infinity, and more nesting than Python can follow."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def from_plain(kind: type[T], value: Any) -> T:
    """The dataclass that dicts and lists describe. Ignores and raises what `from_json` does."""
    hashable: Any = kind
    built: T = _builder(hashable)(value)
    return built


def look_up(*kinds: Any) -> None:
    """Prepare the decoding of these kinds: a process that will fork does so once for all its forks."""
    for kind in kinds:
        _builder(kind)


@cache
def _builder(kind: Any) -> Build:
    """A function from plain values to this kind, made once for each kind: beats come by the thousand."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is Annotated:
        return _checked(*arguments)
    if origin in UNIONS:
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is dict:
        return _dict(kind, arguments[1])
    if origin is Literal:
        return lambda value: _expected(value in arguments, kind, value)
    return _scalar(getattr(kind, "__supertype__", kind))


def _dataclass(kind: Any) -> Build:
    hints, required = _fields(kind)
    builders = [(name, _builder(hint)) for name, hint in hints.items()]

    def build(value: Any) -> Any:
        _expected(isinstance(value, dict), kind, value)
        if missing := required - value.keys():
            raise ValueError(f"{kind.__name__} lacks {', '.join(sorted(missing))}")
        return kind(**{name: built(value[name]) for name, built in builders if name in value})

    return build


def _checked(kind: Any, check: Within | Like) -> Build:
    built = _builder(kind)

    def build(value: Any) -> Any:
        found = built(value)
        return _expected(check.holds(found), check, found)

    return build


def _union(arguments: tuple[Any, ...]) -> Build:
    """The first of these kinds that takes the value."""
    *first, last = [_builder(kind) for kind in arguments if kind is not type(None)]
    optional = type(None) in arguments

    def build(value: Any) -> Any:
        if value is None and optional:
            return None
        for built in first:
            with contextlib.suppress(ValueError):
                return built(value)
        return last(value)

    return build


def _tuple(arguments: tuple[Any, ...]) -> Build:
    builders = [_builder(kind) for kind in arguments if kind is not Ellipsis]
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis

    def build(value: Any) -> Any:
        _expected(isinstance(value, (list, tuple)), tuple, value)
        if repeated:
            return tuple(map(builders[0], value))
        _expected(len(value) == len(builders), tuple, value)
        return tuple(built(item) for built, item in zip(builders, value))

    return build


def _dict(kind: Any, item_kind: Any) -> Build:
    built = _builder(item_kind)

    def build(value: Any) -> Any:
        _expected(isinstance(value, dict), kind, value)
        return {key: built(item) for key, item in value.items()}

    return build


def _scalar(kind: Any) -> Build:
    if kind is Any:
        return lambda value: value
    if isinstance(kind, type) and issubclass(kind, TextEnum):
        return kind

    def build(value: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        return _expected(isinstance(value, kind) and not isinstance(value, bool), kind, value)

    return build


def _expected(good: bool, kind: Any, value: Any) -> Any:
    if not good:
        raise ValueError(f"expected {getattr(kind, '__name__', kind)}, got {str(value)[:80]!r}")
    return value


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    hints = _hints(kind)
    required = frozenset(
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}, required


if sys.version_info >= (3, 10):  # noqa: UP036

    def _hints(kind: Any) -> dict[str, Any]:
        return typing.get_type_hints(kind, include_extras=True)

else:  # a workflow's own Python may be older than the agent's

    class _Unions(ast.NodeTransformer):
        """`A | B` becomes `Union[A, B]`, which Python 3.9 can evaluate."""

        def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
            self.generic_visit(node)
            kinds = ast.Tuple([node.left, node.right], ast.Load())
            return ast.Subscript(ast.Name("Union", ast.Load()), kinds, ast.Load())

    def _hints(kind: Any) -> dict[str, Any]:
        hints: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            names = {**vars(sys.modules[base.__module__]), "Union": Union}
            for name, text in vars(base).get("__annotations__", {}).items():
                tree = ast.fix_missing_locations(_Unions().visit(ast.parse(text, mode="eval")))
                hints[name] = eval(compile(tree, name, "eval"), names)
        return hints
