"""What admins do to workers: each verb for one or for many, with a result for each. API and forms share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Literal

from app.ledger import blocks, groups
from app.ledger.db import Ledger
from app.ledger.registry import pauses, setups
from app.ledger.registry.pauses import Pause
from app.ledger.registry.setups import Change, Setup, setup_of
from app.pool.errors import BadFields
from app.pool.model import Worker, WorkerId
from app.web.http import cache
from app.web.http.auth import caller
from app.web.http.services import services

Action = Literal["tag", "untag", "group", "ungroup", "pause", "resume", "unblock"]
FOREVER = Pause()
NOBODY = "there is no such worker"
UNCHANGED = "had nothing to change"


@dataclass(frozen=True)
class Wish:
    """What is to be done; each action reads what it needs."""

    action: Action
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    pause: Pause = FOREVER
    workflow: str | None = None  # None: all for which it is blocked


@dataclass(frozen=True)
class Result:
    """What became of it for one worker."""

    worker: WorkerId
    name: str | None
    ok: bool
    detail: str


def perform(which: Sequence[WorkerId], wish: Wish) -> list[Result]:
    """Do it to each, in this order, and ring. Raises BadRequest naming what the action cannot take."""
    errors = _errors(wish)
    if errors:
        raise BadFields(*errors)
    done = VERBS[wish.action](which, wish)
    ring(which)
    return done


def ring(which: Sequence[WorkerId]) -> None:
    """Tell the coordinator that these workers are other than it knows, and have them read anew here."""
    cache.forget_workers()
    services().ring(f"worker {which[0]}" if len(which) == 1 else "workers")


def ring_groups() -> None:
    """The same of groups, and of who is in them."""
    cache.forget_workers()
    services().ring("groups")


def pin_groups(tx: Ledger, names: Iterable[str]) -> None:
    """Hold these groups for the transaction. Raises BadRequest naming those that are not there."""
    wanted = list(names)
    missing = groups.pin(tx, wanted)
    if missing:
        named = [(place, name) for place, name in enumerate(wanted) if name in missing]
        errors = [(f"/groups/{place}", f"there is no group {name}") for place, name in named]
        raise BadFields(*errors)


def _errors(wish: Wish) -> list[tuple[str, str]]:
    errors = []
    if wish.action in ("tag", "untag") and not wish.tags:
        errors.append(("/tags", "name at least one tag"))
    if wish.action in ("group", "ungroup") and not wish.groups:
        errors.append(("/groups", "name at least one group"))
    if wish.pause.until and wish.pause.for_s is not None:
        errors.append(("/until", "name either until or for_s"))
    elif wish.pause.until and wish.pause.until <= datetime.now(timezone.utc):
        errors.append(("/until", "must lie ahead"))
    return errors


def _set_up(which: Sequence[WorkerId], wish: Wish) -> list[Result]:
    with services().ledger.transaction() as tx:
        if wish.action == "group":
            pin_groups(tx, wish.groups)
        changes = setups.change(tx, which, lambda worker: SETUPS[wish.action](worker, wish), caller().owner)
    return [_changed(worker, changes.get(worker)) for worker in which]


def _changed(worker: WorkerId, change: Change | None) -> Result:
    if change is None:
        return Result(worker, None, False, NOBODY)
    if change.refused:
        return Result(worker, change.worker.name, False, change.refused)
    told = setups.words(setup_of(change.worker), change.after)
    return Result(worker, change.worker.name, True, told or UNCHANGED)


def _tag(worker: Worker, wish: Wish) -> Setup | str:
    return replace(setup_of(worker), tags=tuple(sorted({*worker.tags, *wish.tags})))


def _untag(worker: Worker, wish: Wish) -> Setup | str:
    tags = tuple(tag for tag in worker.tags if tag not in wish.tags)
    reported = sorted(set(wish.tags) & set(worker.dynamic_tags) - set(worker.tags))
    if tags == worker.tags and reported:
        return f"{', '.join(reported)} is reported by its agent, and only the agent drops it"
    return replace(setup_of(worker), tags=tags)


def _group(worker: Worker, wish: Wish) -> Setup | str:
    return replace(setup_of(worker), groups=tuple(sorted({*worker.groups, *wish.groups})))


def _ungroup(worker: Worker, wish: Wish) -> Setup | str:
    return replace(setup_of(worker), groups=tuple(name for name in worker.groups if name not in wish.groups))


def _pause(which: Sequence[WorkerId], wish: Wish) -> list[Result]:
    paused = {each.id: each for each in pauses.pause(services().ledger, which, wish.pause, caller().owner)}
    details = {id_: _until(each.until) for id_, each in paused.items()}
    return _moved(which, details)


def _resume(which: Sequence[WorkerId], _: Wish) -> list[Result]:
    details = {each.id: "takes jobs again" for each in pauses.resume(services().ledger, which, caller().owner)}
    return _moved(which, details)


def _moved(which: Sequence[WorkerId], details: Mapping[WorkerId, str]) -> list[Result]:
    known = pauses.intents(services().ledger, which)
    return [
        Result(worker, known[worker][0], worker in details, details.get(worker, "is active, not paused"))
        if worker in known
        else Result(worker, None, False, NOBODY)
        for worker in which
    ]


def _unblock(which: Sequence[WorkerId], wish: Wish) -> list[Result]:
    known = pauses.intents(services().ledger, which)
    forgiven = blocks.forgive(services().ledger, list(known), wish.workflow, caller().owner)
    about = f" for {wish.workflow}" if wish.workflow else ""
    return [
        Result(
            worker,
            known[worker][0],
            worker in forgiven,
            f"{'is not' if worker in forgiven else 'was not'} blocked{about}",
        )
        if worker in known
        else Result(worker, None, False, NOBODY)
        for worker in which
    ]


def _until(moment: datetime | None) -> str:
    return f"paused until {moment:%Y-%m-%d %H:%M} UTC" if moment else "paused until it is resumed"


SETUPS: Mapping[str, Callable[[Worker, Wish], Setup | str]] = {
    "tag": _tag,
    "untag": _untag,
    "group": _group,
    "ungroup": _ungroup,
}
VERBS: Mapping[Action, Callable[[Sequence[WorkerId], Wish], list[Result]]] = {
    "tag": _set_up,
    "untag": _set_up,
    "group": _set_up,
    "ungroup": _set_up,
    "pause": _pause,
    "resume": _resume,
    "unblock": _unblock,
}
