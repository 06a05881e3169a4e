"""Why a job waits, in words, as dispatch sees it; the filters are those that fill the eligible sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from app.coordinator.fleet import Fleet
from app.pool.capacity import Need, could_give_mb, need, unfit
from app.pool.matching import nobody_offers
from app.pool.model import Health, Requirement, Worker, WorkerId
from app.pool.policy import Policy
from app.pool.status import FREE_SLOT, STANDING, worker_status

NAMED = 3
PLURALS = {"lacks": "lack", "has": "have", "is": "are", "does": "do"}


def why_waiting_in(
    fleet: Fleet, requirement: Requirement, without: Collection[WorkerId] = (), above_mb: int = 0
) -> str:
    """As `why_waiting`, of the fleet as the leader has it in memory."""
    return why_waiting(requirement, fleet.groups, fleet.workers.values(), fleet.policy, without, above_mb)


def why_waiting(
    requirement: Requirement,
    groups: Collection[str],
    workers: Iterable[Worker],
    policy: Policy,
    without: Collection[WorkerId] = (),
    above_mb: int = 0,
) -> str:
    """One sentence for a job that no worker was given.

    It may avoid some workers, and want a card with more free memory than so much, where others can do that.
    """
    if requirement.group is not None and requirement.group not in groups:
        return f"its group {requirement.group} was deleted; it waits until there is one of this name again"
    everyone = list(workers)
    if not everyone:
        return "no worker has joined the pool yet"
    refusals = [(worker, unfit(worker, requirement, policy)) for worker in everyone]
    fitting = [worker for worker, refused in refusals if refused is None]
    if fitting:
        wanted = [
            worker
            for worker in fitting
            if worker.id not in without and (not above_mb or could_give_mb(worker, None, policy) > above_mb)
        ]
        return _busy(wanted or fitting, requirement, above_mb)
    if all(refused is not None and refused.filter == "workflow" for _, refused in refusals):
        return nobody_offers(requirement.workflow)
    reasons = Counter(refused.why for _, refused in refusals if refused is not None)
    return "no worker fits: " + "; ".join(
        f"{count} {_of_several(why, count)}" for why, count in sorted(reasons.items())
    )


def _of_several(why: str, count: int) -> str:
    """Reasons begin with a verb that speaks of one worker."""
    verb, _, rest = why.partition(" ")
    return f"{PLURALS.get(verb, verb)} {rest}" if count > 1 else why


def _busy(fitting: Sequence[Worker], requirement: Requirement, above_mb: int) -> str:
    words = {worker.id: worker_status(worker) for worker in fitting}
    ready = [worker for worker in fitting if words[worker.id] == Health.HEALTHY]
    if ready:
        wants = need(ready[0], requirement, above_mb)
        return f"{FREE_SLOT}{_and_what(wants, above_mb)}: {_names(ready)} {'full' if wants == Need() else 'busy'}"
    if all(worker.health is Health.LEFT for worker in fitting):
        return _left(fitting)
    states = "; ".join(f"{worker.name} {STANDING[words[worker.id]][0]}" for worker in fitting[:NAMED])
    return f"no worker that could run it takes jobs now: {states}{_more(fitting)}"


def _and_what(wants: Need, above_mb: int) -> str:
    """What it waits for beside a slot."""
    at_once = f" ({wants.slots} at once)" if wants.slots > 1 else ""
    if above_mb:
        return f"{at_once} on a card with more than {above_mb} MiB free"
    if not wants.cards:
        return f"{at_once} on a card with enough memory free" if wants.least_mb else at_once
    cards = "a GPU" if wants.cards == 1 else f"{wants.cards} GPUs"
    return f"{at_once} and {cards} of its own" + (" with enough memory free" if wants.least_mb else "")


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
