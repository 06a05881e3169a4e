"""What is wrong with a submission, by what the pool knows: workflows, parameters, groups, tags, workers.

What can never come right by itself is an error. What may still come right, though it is likelier a mistake, is a
warning: the job is taken and waits.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.actions.spelling import did_you_mean
from app.ledger import groups
from app.ledger.db import Ledger
from app.ledger.registry import fleet, workflows
from app.ledger.registry.workflows import Declaration
from app.pool import parameters
from app.pool.errors import pointer
from app.pool.matching import NOBODY_JOINED, nobody_offers
from app.pool.model import JobSpec, WaitingReason, WorkerId
from app.pool.settings import ServerSettings
from app.pool.status import listed

FieldErrors = list[tuple[str, str]]
ALLOWED = "with allow_unknown_workflow (--anyway) it is taken and waits"
QUOTED = 3  # so many workers at most say why they do not offer it


@dataclass(frozen=True)
class Known:
    """What the pool knows of all that some specifications name."""

    declared: Mapping[str, list[Declaration]]  # of what nobody offers now: as it was declared last, by no worker
    unknown: Mapping[str, str]  # workflows that nobody offers or ever has -> that in words
    no_groups: Mapping[str, str]  # groups that are not there -> that in words
    no_tags: Mapping[str, str]  # required tags that no worker has -> that in words
    workers: Container[WorkerId]

    def waiting(self, spec: JobSpec) -> WaitingReason | None:
        """Why the job cannot start, where that is known at once."""
        workflow = spec.requirement.workflow
        offered = any(way.workers for way in self.declared.get(workflow, ()))
        return None if offered else nobody_offers(workflow)

    def errors(self, spec: JobSpec, settings: ServerSettings, allow_unknown: bool) -> FieldErrors:
        """What cannot be taken, by the JSON pointers of fields; `allow_unknown`: a workflow that nobody knows can."""
        needs = spec.requirement
        unknown = None if allow_unknown else self.unknown.get(needs.workflow)
        found = [("/workflow", f"{unknown}{'' if unknown.endswith('?') else ';'} {ALLOWED}")] if unknown else []
        found += [("/group", why)] if (why := self.no_groups.get(needs.group or "")) else []
        return found + _params_errors(self.declared.get(needs.workflow, ()), spec, settings)

    def warnings(self, spec: JobSpec) -> tuple[str, ...]:
        """What is likely a mistake, in sentences."""
        needs = spec.requirement
        named = dict.fromkeys([*needs.only_workers, *needs.exclude_workers])
        return (
            *filter(None, [self.unknown.get(needs.workflow)]),
            *(self.no_tags[tag] for tag in needs.tags if tag in self.no_tags),
            *(f"there is no worker {worker}" for worker in named if worker not in self.workers),
        )


def known(tx: Ledger, specs: Iterable[JobSpec]) -> Known:
    """What the pool knows of all that these name; their groups cannot be deleted before the commit."""
    needs = [spec.requirement for spec in specs]
    names = {need.workflow for need in needs}
    declared = _declared(tx, names)
    last = workflows.known(tx, sorted(names - declared.keys()))
    declared |= {name: [Declaration(workflow, ())] for name, workflow in last.items() if workflow}
    return Known(
        declared,
        _unknown(tx, sorted(names - declared.keys() - last.keys())),
        _no_groups(tx, {need.group for need in needs if need.group is not None}),
        _no_tags(tx, {tag for need in needs for tag in need.tags}),
        fleet.names(tx, {worker for need in needs for worker in (*need.only_workers, *need.exclude_workers)}),
    )


def unknown_workflow(ledger: Ledger, name: str) -> str | None:
    """That nobody offers this workflow or ever has, in words; None where somebody does or has."""
    there = workflows.declared(ledger, [name]) or workflows.known(ledger, [name])
    return None if there else _unknown(ledger, [name])[name]


def _declared(tx: Ledger, names: Iterable[str]) -> dict[str, list[Declaration]]:
    declared: dict[str, list[Declaration]] = {}
    for declaration in workflows.declared(tx, sorted(names)):
        declared.setdefault(declaration.workflow.name, []).append(declaration)
    return declared


def _unknown(tx: Ledger, names: Sequence[str]) -> dict[str, str]:
    """What is said of each of these workflows, which nobody has ever offered."""
    if not names:
        return {}
    known_names = workflows.known(tx)
    if not known_names:
        return {name: f"no worker offers '{name}': {NOBODY_JOINED}" for name in names}
    whys, meant = workflows.not_offered(tx, names), did_you_mean(names, known_names)
    return {name: f"no worker offers '{name}' or ever has{_said(whys.get(name)) or meant[name]}" for name in names}


def _said(whys: Sequence[tuple[str, str]] | None) -> str:
    """Why these workers do not offer it, in their own words."""
    return ": " + listed([f"{worker} says: {why}" for worker, why in whys], QUOTED, "; ") if whys else ""


def _no_groups(tx: Ledger, wanted: Iterable[str]) -> dict[str, str]:
    gone = groups.pin(tx, wanted)
    meant = did_you_mean(gone, groups.names(tx) if gone else [])
    return {name: f"there is no group {name}{meant[name]}" for name in gone}


def _no_tags(tx: Ledger, wanted: set[str]) -> dict[str, str]:
    there = set(fleet.tags(tx) if wanted else ())
    meant = did_you_mean(sorted(wanted - there), there)
    return {tag: f"no worker has the tag '{tag}'{asks}" for tag, asks in meant.items()}


def _params_errors(declared: Sequence[Declaration], spec: JobSpec, settings: ServerSettings) -> FieldErrors:
    """The errors by the declaration that fits best: where hosts declare differently, one that fits is enough."""
    tried = [parameters.problems_of(d.workflow, spec.params, settings.input_folders) for d in declared]
    wrong = min(tried, key=len, default=[])
    return [(pointer("params", name), why) for name, why in wrong]
