"""The settings' page: a form made from the policy's fields, with their ranges and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from app.actions import settings
from app.ledger import policy
from app.pool.model import Json
from app.pool.policy import ABOUT, DEFAULTS, FAILOVER, FAILURES, NAMES, NULLABLE, PLACEMENT, Policy
from app.web.http import etags
from app.web.http.auth import READERS, caller
from app.web.http.forms import Errors, tried
from app.web.http.services import services
from app.web.pages.base import page

blueprint = Blueprint("settings_page", __name__)
SECTIONS = (PLACEMENT, FAILOVER, FAILURES)


@dataclass(frozen=True)
class Setting:
    """A field of the form."""

    name: str
    label: str
    help: str
    value: str  # as written; "on" or "" for a box
    box: bool
    choices: tuple[str, ...]  # none: a number
    optional: bool
    step: str
    low: float | None  # of a number
    high: float | None
    default: str
    changed: bool  # differs from the default
    error: str | None


@blueprint.get("/settings")
@page(*READERS)
def form() -> ResponseReturnValue:
    """The form with the present settings."""
    return _page({}, None)


@blueprint.post("/ui/settings/change")
@page("admin")
def change() -> ResponseReturnValue:
    """Change what differs from the present settings; a stale or bad form is shown again and changes nothing."""

    def apply() -> str:
        present, read = policy.read(services().ledger), {name: _read(name) for name in NAMES}
        changes = {name: value for name, value in read.items() if value != getattr(present, name)}
        settings.change(services(), caller(), changes, etags.seen(request.form))
        return "/settings?saved=1"

    next_page, errors, status = tried(apply)
    if next_page is None:
        return _page(errors, None if status == 412 else request.form), status
    return redirect(next_page, 303)


def sections() -> list[tuple[str, list[str]]]:
    """Every setting under the title of what it is about."""
    return [(title, [name for name, about in ABOUT.items() if about.section == title]) for title in SECTIONS]


def _page(errors: Errors, written: Mapping[str, str] | None) -> str:
    present = policy.read(services().ledger)
    return render_template(
        "settings/form.html",
        sections=[(title, [_setting(name, present, written, errors) for name in names]) for title, names in sections()],
        errors=errors,
        clocks=present.clocks,
        present=present,
        version=etags.of_form(policy.version(present), written),
        writes=caller().role == "admin",
    )


def _setting(name: str, present: Policy, written: Mapping[str, str] | None, errors: Errors) -> Setting:
    default, about = getattr(DEFAULTS, name), ABOUT[name]
    return Setting(
        name=name,
        label=about.label + (" (seconds)" if name.endswith("_s") else ""),
        help=about.help,
        value=_text(getattr(present, name)) if written is None else written.get(name, ""),
        box=isinstance(default, bool),
        choices=about.choices,
        optional=name in NULLABLE,
        step="any" if isinstance(default, float) else "1",
        low=about.low,
        high=about.high,
        default=("on" if default else "off") if isinstance(default, bool) else _text(default) or "none",
        changed=getattr(present, name) != default,
        error=errors.get(name),
    )


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)  # with every digit: an untouched field comes back as it was


def _read(name: str) -> Json:
    """The setting's value in the form; text that is no number stays text, and the policy refuses it by name."""
    text = request.form.get(name, "").strip()
    if isinstance(getattr(DEFAULTS, name), bool):
        return text == "on"
    if ABOUT[name].choices:
        return text
    if not text and name in NULLABLE:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number
