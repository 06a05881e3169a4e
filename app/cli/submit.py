"""What `submit` sends: parameters as the workflow declares them, from words on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from app.cli.client import Client
from app.pool import parameters
from app.pool.codec import from_plain
from app.pool.errors import PoolError
from app.pool.model import Json, Parameter


def typed_params(client: Client, workflow: str, words: Sequence[str]) -> dict[str, Json]:
    """`name=value` words as values of the declared types. Raises PoolError naming a word that does not fit."""
    declared = _declared(client, workflow)
    return dict(_typed(declared, word) for word in words)


def preferences(words: Sequence[str]) -> dict[str, float]:
    """`tag=weight` words, of weight 1 without one. Raises PoolError naming a word that does not fit."""
    try:
        return parameters.preferences(words)
    except ValueError as error:
        raise PoolError(f"--prefer {error}") from error


def batch_of(text: str) -> list[Json]:
    """The jobs of a file: a JSON list, or one object a line. Raises PoolError naming a line that is not JSON."""
    if text.lstrip().startswith("["):
        return list(_read(text, "this list"))
    # JSON may hold what splitlines takes for the end of a line (U+2028).
    return [_read(line, f"line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _read(text: str, what: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise PoolError(f"{what} cannot be read as JSON: {error}") from error


def _declared(client: Client, workflow: str) -> dict[str, Parameter] | None:
    """The parameters of the most common declaration; None when no worker offers the workflow."""
    for found in client.get("/workflows")["items"]:
        if found["name"] == workflow:
            return {each["name"]: _parameter(each) for each in found["declarations"][0]["parameters"]}
    return None


def _parameter(found: Mapping[str, Any]) -> Parameter:
    return from_plain(Parameter, found)


def _typed(declared: Mapping[str, Parameter] | None, word: str) -> tuple[str, Json]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise PoolError(f"--param {word}: write it as name=value")
    parameter = declared.get(name) if declared else None
    if parameter is None:
        return name, _guessed(text)
    if parameter.type == "file":
        return name, os.path.abspath(text)
    try:
        return name, parameters.typed(parameter, text)
    except ValueError as error:
        raise PoolError(f"--param {name}={text}: {error}") from error


def _guessed(text: str) -> Json:
    """The value of an undeclared parameter: the absolute path of a file that exists, else JSON, else the text."""
    if os.path.isfile(text):
        return os.path.abspath(text)
    try:
        return json.loads(text)
    except ValueError:
        return text
