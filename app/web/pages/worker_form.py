"""The form in which an admin sets up a worker: what it shows, and what a person wrote into it. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import MultiDict

from app.ledger.registry import setups
from app.pool.model import Worker
from app.pool.parameters import whole
from app.web.http import etags
from app.web.http.forms import Errors

Written = MultiDict[str, str]


@dataclass(frozen=True)
class Tick:
    """A box of a list; `note` adds what the name alone does not tell."""

    name: str
    ticked: bool
    note: str = ""


@dataclass(frozen=True)
class Form:
    """The contents of the form; errors are by field, "" names the whole."""

    version: str
    tags: str
    groups: tuple[Tick, ...]
    workflows: tuple[Tick, ...]
    slots: str
    slots_offered: int
    queue_depth: str
    pool_depth: int
    errors: Errors


def form_of(
    worker: Worker,
    groups: Sequence[str],
    pool_depth: int,
    written: Written | None,
    errors: Errors,
) -> Form:
    """The form of this worker as it is set up, or as somebody has written it."""
    values = written if written is not None else _values(worker)
    offered = {workflow.name for workflow in worker.workflows}
    return Form(
        version=etags.of_form(setups.version(worker), written),
        tags=values.get("tags", ""),
        groups=_ticks(groups, values.getlist("groups")),
        workflows=tuple(
            Tick(tick.name, tick.ticked, "" if tick.name in offered else "not offered now")
            for tick in _ticks(sorted(offered | set(worker.allowed_workflows)), values.getlist("workflows"))
        ),
        slots=values.get("slots", ""),
        slots_offered=worker.slots_offered,
        queue_depth=values.get("queue_depth", ""),
        pool_depth=pool_depth,
        errors=errors,
    )


def read(written: Written) -> dict[str, Any]:
    """The form as a body of PATCH; text that is no number stays text, and is refused by name."""
    return {
        "tags": written.get("tags", "").replace(",", " ").split(),
        "groups": written.getlist("groups"),
        "workflows": written.getlist("workflows"),
        "slots": number(written.get("slots", "")),
        "queue_depth": number(written.get("queue_depth", "")),
    }


def number(text: str) -> int | str | None:
    """The whole number that somebody wrote; None for empty text; the text itself when it is no number."""
    stripped = text.strip()
    if not stripped:
        return None
    number = whole(stripped)
    return stripped if number is None else number


def _values(worker: Worker) -> Written:
    setup = setups.setup_of(worker)
    return MultiDict(
        [
            ("tags", " ".join(setup.tags)),
            *(("groups", name) for name in setup.groups),
            *(("workflows", name) for name in setup.workflows),
            ("slots", _text(setup.slots)),
            ("queue_depth", _text(setup.queue_depth)),
        ]
    )


def _ticks(names: Sequence[str], ticked: Sequence[str]) -> tuple[Tick, ...]:
    return tuple(Tick(name, name in ticked) for name in names)


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
