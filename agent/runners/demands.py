"""What a workflow demands of its outputs, by which a success is shown. Pure: it is given names and sizes.

A demanded name may hold places: `{shot}` is a parameter's value, `{frame:04}` a whole number of at least four digits,
`{first..last}` and `{first..last..step:04}` each number of a range, both ends included. Ends and step are parameters
or numbers. A name with a parameter that has no value demands nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath

from app.pool.errors import PoolError
from app.pool.model import Demands, FileFact, Json, Parameter
from app.pool.status import and_more, counted

MOST_NAMES = 20
MOST_CHARACTERS = 200
MOST_FILES = 1_000_000  # that a name may stand for

_PLACE = re.compile(r"\{(-?\w+)(?:\.\.(-?\w+)(?:\.\.(\w+))?)?(?::0([1-9]))?\}")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_PLACES = "{name}, {name:04}, {first..last}, {first..last..step:04}"
_TYPES = ("string", "choice", "int")


class Unmet(PoolError):
    """A workflow returned, but its outputs are not those that it demands."""


@dataclass(frozen=True)
class _Place:
    """A place in a demanded name: one value, or with a last one each number of a range."""

    first: str
    last: str | None
    step: str | None
    digits: int

    def values(self, params: Mapping[str, Json]) -> Sequence[Json]:
        """What stands in the place, in turn; nothing where a parameter has no value."""
        first, last, step = (_value(word, params) for word in (self.first, self.last or self.first, self.step or "1"))
        if None in (first, last, step):
            return ()
        return range(first, last + 1, step) if self.last else (first,)

    def spelled(self, value: Json) -> tuple[str, ...]:
        """How the value may be written. A negative number has so many digits (Blender), or characters (printf)."""
        if not self.digits:
            return (str(value),)
        sign = "-" if value < 0 else ""
        return tuple(dict.fromkeys((f"{sign}{abs(value):0{self.digits}d}", f"{value:0{self.digits}d}")))


def check(demands: Demands, parameters: Iterable[Parameter]) -> None:
    """Raise ValueError when the demands contradict themselves, or name what these parameters cannot give."""
    if demands.at_least < 0:
        raise ValueError("outputs: at_least must be 0 or more")
    if len(demands.names) > MOST_NAMES:
        raise ValueError(f"outputs: at most {MOST_NAMES} names")
    declared = {parameter.name: parameter for parameter in parameters}
    for name in demands.names:
        try:
            _check_name(name, declared)
        except ValueError as error:
            raise ValueError(f"outputs: {name!r}: {error}") from error


def require(demands: Demands, params: Mapping[str, Json], files: Iterable[FileFact]) -> None:
    """Return when these files are what is demanded with these parameters. Raises Unmet, which names what is not."""
    sizes = {file.name: file.size for file in files}
    problems = list(_problems(demands, params, sizes))
    if problems:
        raise Unmet(f"its outputs are not what its workflow demands: {'; '.join(problems)}")


def _problems(demands: Demands, params: Mapping[str, Json], sizes: Mapping[str, int]) -> Iterator[str]:
    missing: list[str] = []
    there: list[str] = []
    for name in demands.names:
        parts = _parts(name)
        if wrong := _uncountable(parts, params):
            yield f"{name}: {wrong}"
            continue
        for spellings in _spelled(parts, params):
            found = next((each for each in spellings if each in sizes), None)
            (missing if found is None else there).append(found or spellings[0])
    if missing:
        yield and_more(missing, "missing")
    empty = [name for name in (there if demands.names else sorted(sizes)) if sizes[name] == 0]
    if demands.not_empty and empty:
        yield and_more(empty, "empty")
    if len(sizes) < demands.at_least:
        yield f"it left {counted(len(sizes), 'file')}, and at least {demands.at_least} must be there"


def _uncountable(parts: Sequence[str | _Place], params: Mapping[str, Json]) -> str | None:
    """Why the files of a name cannot be looked for: a range without a number, or far too many of them."""
    places = [part.values(params) for part in parts if isinstance(part, _Place)]
    for values in places:
        if isinstance(values, range) and not values:
            return f"there is no number from {values.start} to {values.stop - 1}"
    files = math.prod(_length(values) for values in places)
    return f"that is {files:,} files, and at most {MOST_FILES:,} can be demanded" if files > MOST_FILES else None


def _length(values: Sequence[Json]) -> int:
    """As `len`, which cannot count a range beyond 64 bits."""
    return -((values.start - values.stop) // values.step) if isinstance(values, range) else len(values)


def _spelled(parts: Sequence[str | _Place], params: Mapping[str, Json]) -> Iterator[list[str]]:
    """Of each file that a name stands for the names that it may have."""
    choices = [
        [(part,)] if isinstance(part, str) else [part.spelled(value) for value in part.values(params)] for part in parts
    ]
    for chosen in product(*choices):
        yield ["".join(spelling) for spelling in product(*chosen)]


def _parts(name: str) -> list[str | _Place]:
    """The name as text and places in turn."""
    parts: list[str | _Place] = []
    end = 0
    for found in _PLACE.finditer(name):
        first, last, step, digits = found.groups()
        parts += [name[end : found.start()], _Place(first, last, step, int(digits or 0))]
        end = found.end()
    return [*parts, name[end:]]


def _value(word: str, params: Mapping[str, Json]) -> Json:
    return int(word) if _NUMBER.fullmatch(word) else params.get(word)


def _check_name(name: str, declared: Mapping[str, Parameter]) -> None:
    if not 1 <= len(name) <= MOST_CHARACTERS:
        raise ValueError(f"a name has 1 to {MOST_CHARACTERS} characters")
    if name.startswith("/") or ".." in name.split("/") or str(PurePosixPath(name)) != name:
        raise ValueError("write it as it lies in the output folder, such as parts/one.exr")
    if set("{}") & set("".join(part for part in _parts(name) if isinstance(part, str))):
        raise ValueError(f"a brace begins or ends no place; places are {_PLACES}")
    for place in _parts(name):
        if isinstance(place, _Place):
            _check_place(place, declared)


def _check_place(place: _Place, declared: Mapping[str, Parameter]) -> None:
    words = [word for word in (place.first, place.last, place.step) if word is not None]
    for word in words:
        if not _NUMBER.fullmatch(word) and word not in declared:
            raise ValueError(f"{{{word}}} is no declared parameter")
    of = [declared[word] for word in words if not _NUMBER.fullmatch(word)]
    whole = place.last is not None or place.digits > 0
    for parameter in of:
        if parameter.type not in (("int",) if whole else _TYPES):
            kinds = "int" if whole else f"{', '.join(_TYPES[:-1])} or {_TYPES[-1]}"
            raise ValueError(f"the parameter {parameter.name} must be of type {kinds}; to demand any file: at_least")
    if place.step and not _positive(place.step, declared):
        raise ValueError(f"the step {place.step} must be 1 or more; declare the parameter with min = 1")


def _positive(step: str, declared: Mapping[str, Parameter]) -> bool:
    least = int(step) if _NUMBER.fullmatch(step) else declared[step].min
    return least is not None and least >= 1
