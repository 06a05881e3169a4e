"""Actions on workers, for one or for many, with an outcome for each: tag, group, pause, resume, unblock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal

from app.actions import groups
from app.actions.actor import Actor
from app.actions.errors import Missing
from app.actions.services import Services
from app.ledger import blocks
from app.ledger.db import Ledger
from app.ledger.registry import pauses, setups, workers
from app.ledger.registry.pauses import Pause
from app.ledger.registry.setups import Change, Setup, setup_of
from app.pool.errors import BadFields
from app.pool.model import Worker, WorkerId
from app.pool.status import until_words

Action = Literal["tag", "untag", "group", "ungroup", "pause", "resume", "unblock"]
FOREVER = Pause()
NOBODY = "there is no such worker"
UNCHANGED = "had nothing to change"
NOT_PAUSED = "is active, not paused"


@dataclass(frozen=True)
class Instruction:
    """An action with what it needs; it reads the fields that concern it."""

    action: Action
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    pause: Pause = FOREVER
    workflow: str | None = None  # None: all for which it is blocked


@dataclass(frozen=True)
class WorkerOutcome:
    """The outcome of an instruction for one worker; no name where there is no such worker."""

    worker: WorkerId
    name: str | None
    ok: bool
    detail: str


def find(ledger: Ledger, worker: str) -> Worker:
    """The worker. Raises Missing."""
    found = workers.find(ledger, WorkerId(worker))
    if found is None:
        raise Missing(NOBODY)
    return found


def perform(
    services: Services, actor: Actor, chosen: Sequence[WorkerId], instruction: Instruction
) -> list[WorkerOutcome]:
    """The outcomes of an instruction, in the order of the chosen workers; the coordinator is rung.

    Raises BadFields naming what the action cannot take; then nothing is done. Repeating it is harmless.
    """
    errors = _errors(instruction)
    if errors:
        raise BadFields(*errors)
    outcomes = VERBS[instruction.action](services.ledger, actor, chosen, instruction)
    services.ring_workers(chosen)
    return outcomes


def _errors(instruction: Instruction) -> list[tuple[str, str]]:
    errors = []
    if instruction.action in ("tag", "untag") and not instruction.tags:
        errors.append(("/tags", "name at least one tag"))
    if instruction.action in ("group", "ungroup") and not instruction.groups:
        errors.append(("/groups", "name at least one group"))
    if instruction.pause.until and instruction.pause.for_s is not None:
        errors.append(("/until", "name either until or for_s"))
    elif instruction.pause.until and instruction.pause.until <= datetime.now(timezone.utc):
        errors.append(("/until", "must lie ahead"))
    return errors


def _set_up(ledger: Ledger, actor: Actor, chosen: Sequence[WorkerId], instruction: Instruction) -> list[WorkerOutcome]:
    with ledger.transaction() as tx:
        if instruction.action == "group":
            groups.pin(tx, instruction.groups)
        new_setup = SETUPS[instruction.action]
        changes = setups.change(tx, chosen, lambda worker: new_setup(worker, instruction), actor.name)
    return [_changed(worker, changes.get(worker)) for worker in chosen]


def _changed(worker: WorkerId, change: Change | None) -> WorkerOutcome:
    if change is None:
        return WorkerOutcome(worker, None, False, NOBODY)
    if change.refused:
        return WorkerOutcome(worker, change.worker.name, False, change.refused)
    changed = setups.words(setup_of(change.worker), change.after)
    return WorkerOutcome(worker, change.worker.name, True, changed or UNCHANGED)


def _tag(worker: Worker, instruction: Instruction) -> Setup | str:
    return replace(setup_of(worker), tags=tuple(sorted({*worker.tags, *instruction.tags})))


def _untag(worker: Worker, instruction: Instruction) -> Setup | str:
    tags = tuple(tag for tag in worker.tags if tag not in instruction.tags)
    reported = sorted(set(instruction.tags) & set(worker.dynamic_tags) - set(worker.tags))
    if tags == worker.tags and reported:
        return f"{', '.join(reported)} is reported by its agent, and only the agent drops it"
    return replace(setup_of(worker), tags=tags)


def _group(worker: Worker, instruction: Instruction) -> Setup | str:
    return replace(setup_of(worker), groups=tuple(sorted({*worker.groups, *instruction.groups})))


def _ungroup(worker: Worker, instruction: Instruction) -> Setup | str:
    return replace(setup_of(worker), groups=tuple(name for name in worker.groups if name not in instruction.groups))


def _pause(ledger: Ledger, actor: Actor, chosen: Sequence[WorkerId], instruction: Instruction) -> list[WorkerOutcome]:
    moved = pauses.pause(ledger, chosen, instruction.pause, actor.name)
    paused = {worker.id: f"paused {until_words(worker.until, 'until it is resumed')}" for worker in moved}
    return _outcomes(ledger, chosen, paused, NOT_PAUSED)


def _resume(ledger: Ledger, actor: Actor, chosen: Sequence[WorkerId], _: Instruction) -> list[WorkerOutcome]:
    resumed = {worker.id: "takes jobs again" for worker in pauses.resume(ledger, chosen, actor.name)}
    return _outcomes(ledger, chosen, resumed, NOT_PAUSED)


def _unblock(ledger: Ledger, actor: Actor, chosen: Sequence[WorkerId], instruction: Instruction) -> list[WorkerOutcome]:
    forgiven = blocks.forgive(ledger, list(pauses.intents(ledger, chosen)), instruction.workflow, actor.name)
    about = f" for {instruction.workflow}" if instruction.workflow else ""
    details = dict.fromkeys(forgiven, f"is not blocked{about}")
    return _outcomes(ledger, chosen, details, f"was not blocked{about}")


def _outcomes(
    ledger: Ledger, chosen: Sequence[WorkerId], done: Mapping[WorkerId, str], refusal: str
) -> list[WorkerOutcome]:
    """An outcome for each worker: what was `done` to it, else `refusal` where it is registered."""
    registered = pauses.intents(ledger, chosen)
    return [
        WorkerOutcome(worker, registered[worker][0], worker in done, done.get(worker, refusal))
        if worker in registered
        else WorkerOutcome(worker, None, False, NOBODY)
        for worker in chosen
    ]


SETUPS: Mapping[str, Callable[[Worker, Instruction], Setup | str]] = {
    "tag": _tag,
    "untag": _untag,
    "group": _group,
    "ungroup": _ungroup,
}
VERBS: Mapping[Action, Callable[[Ledger, Actor, Sequence[WorkerId], Instruction], list[WorkerOutcome]]] = {
    **dict.fromkeys(("tag", "untag", "group", "ungroup"), _set_up),
    "pause": _pause,
    "resume": _resume,
    "unblock": _unblock,
}
