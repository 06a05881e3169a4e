"""Why jobs of a class wait, as dispatch sees it. Pure; the filters are those that fill the eligible sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from app.pool.capacity import Need, need, unfit
from app.pool.matching import nobody_offers
from app.pool.model import Health, Requirement, WaitingFor, WaitingReason, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.status import FREE_SLOT, STANDING, worker_status

NAMED = 3  # workers in one sentence
PLURALS = {"lacks": "lack", "has": "have", "is": "are", "does": "do"}


def why_waiting(
    requirement: Requirement,
    groups: Collection[str],
    workers: Iterable[Worker],
    policy: Policy,
    avoided: Collection[WorkerId] = (),
) -> WaitingReason:
    """Why a job that avoids some workers, of all these, was given none.

    groups: the names of those that there are.
    """
    if requirement.group is not None and requirement.group not in groups:
        gone = f"its group {requirement.group} was deleted; it waits until there is one of this name again"
        return WaitingReason(WaitingFor.WORKER, gone)
    everyone = list(workers)
    if not everyone:
        return WaitingReason(WaitingFor.WORKER, "no worker has joined the pool yet")
    refusals = [(worker, unfit(worker, requirement, policy)) for worker in everyone]
    fitting = [worker for worker, refusal in refusals if refusal is None]
    if fitting:
        return _busy([worker for worker in fitting if worker.id not in avoided] or fitting, requirement)
    if all(refusal is not None and refusal.filter == "workflow" for _, refusal in refusals):
        return nobody_offers(requirement.workflow)
    counts = Counter(refusal.why for _, refusal in refusals if refusal is not None)
    clauses = (f"{count} {_of_several(why, count)}" for why, count in sorted(counts.items()))
    return WaitingReason(WaitingFor.WORKER, f"no worker fits: {'; '.join(clauses)}")


def _of_several(why: str, count: int) -> str:
    """Reasons begin with a verb that speaks of one worker."""
    verb, _, rest = why.partition(" ")
    return f"{PLURALS.get(verb, verb)} {rest}" if count > 1 else why


def _busy(fitting: Sequence[Worker], requirement: Requirement) -> WaitingReason:
    statuses = {worker.id: worker_status(worker) for worker in fitting}
    ready = [worker for worker in fitting if statuses[worker.id] == Health.HEALTHY]
    if ready:
        needs = need(ready[0], requirement)
        full = "full" if needs == Need() else "busy"
        return WaitingReason(WaitingFor.SLOT, f"{FREE_SLOT}{_and_what(needs, requirement)}: {_names(ready)} {full}")
    if all(worker.health is Health.LEFT for worker in fitting):
        return WaitingReason(WaitingFor.WORKER, _left(fitting))
    standing = "; ".join(f"{worker.name} {STANDING[statuses[worker.id]][0]}" for worker in fitting[:NAMED])
    words = f"no worker that could run it takes jobs now: {standing}{_more(fitting)}"
    return WaitingReason(WaitingFor.WORKER, words)


def _and_what(needs: Need, requirement: Requirement) -> str:
    """What a job waits for beside a slot."""
    at_once = f" ({needs.slots} at once)" if needs.slots > 1 else ""
    if requirement.above_vram_mb is not None:
        return f"{at_once} on a card with more than {requirement.above_vram_mb} MiB free"
    if not needs.cards:
        return f"{at_once} on a card with enough memory free" if needs.least_mb else at_once
    cards = "a GPU" if needs.cards == 1 else f"{needs.cards} GPUs"
    return f"{at_once} and {cards} of its own" + (" with enough memory free" if needs.least_mb else "")


def _left(fitting: Sequence[Worker]) -> str:
    if len(fitting) > 1:
        names = ", ".join(worker.name for worker in fitting[:NAMED])
        return f"every worker that could run it said good-bye: {names}{_more(fitting)}"
    worker = fitting[0]
    at = f" at {worker.last_heartbeat:%H:%M} UTC" if worker.last_heartbeat else ""
    return f"its worker {worker.name} said good-bye{at}; no other can run it"


def _names(workers: Sequence[Worker]) -> str:
    names = ", ".join(worker.name for worker in workers[:NAMED])
    return f"{names}{_more(workers)} {'is' if len(workers) == 1 else 'are'}"


def _more(workers: Sequence[Worker]) -> str:
    return f" and {len(workers) - NAMED} more" if len(workers) > NAMED else ""
